"""Folders that were extracted by others: their list files, and their files of one stay each."""
