"""Write a classifier as one ONNX file, check that it answers the same, and pass it on."""
