"""Tables and lists that name images: files, columns, cells and DataFrames."""
