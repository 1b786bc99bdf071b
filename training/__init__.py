"""The program that distilled the embedded network from VGG-19; see README.md. No part of the package."""
