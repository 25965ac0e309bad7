"""What backstay promises, and which tests prove it: the rows, the marks of tests, two pages."""
