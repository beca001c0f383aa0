"""Readers of image formats beyond the everyday ones: one file per format, discovered.

Each file has two functions:

- `matches(head)`: whether the first `SIGNATURE_BYTES` bytes of a file are of this format;
- `open_image(source, page)`: the image with its size and mode read and no pixel decoded, as a
  Pillow image file or an `ArrayImage`. `page` counts from 1; 0 is the image that the file stands
  for. Its attribute `n_pages`, if there is one, is the number of pages.

A library that only one format needs is imported when a file of that format is opened, with
`require`.
"""
