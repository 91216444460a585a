"""The command line of a pipeline: words, operators, expansion, as POSIX sh has them."""
