"""Foundation models behind one protocol: Geneformer, scGPT, and the registry that finds them."""
