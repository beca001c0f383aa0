"""One image before it is decoded: its digest, size and header, from a file or in memory."""
