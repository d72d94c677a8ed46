"""The report of a run: one HTML page that opens without a network, LaTeX tables, pictures.

What a page is made of is in :mod:`fusionbench.contract.blocks`. A guest adds a section from an observer, with the hook
``fusionbench_report_sections``.
"""

from fusionbench.contract.blocks import Legend, Listing, Picture, Section, Table, Text

__all__ = ["Legend", "Listing", "Picture", "Section", "Table", "Text"]
