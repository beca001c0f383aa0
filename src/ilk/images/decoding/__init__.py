"""From the bytes of a file to 8-bit RGB: formats, pages, damage, and limits on memory."""
