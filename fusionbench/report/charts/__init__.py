"""Pictures: how they are drawn, the small ones of the page, the sheets beside the tables."""
