"""The Kubernetes API of backstay: models, words, and the generator of the CRDs."""
