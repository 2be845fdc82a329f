"""The sparse autoencoder: maths, training, metrics, file formats, extraction, sparse codes."""
