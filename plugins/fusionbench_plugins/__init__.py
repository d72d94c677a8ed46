"""The built-in plugins: one file each, registered by entry points like any guest's."""
