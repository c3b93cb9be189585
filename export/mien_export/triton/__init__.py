"""A bundle as a model repository of NVIDIA's Triton Inference Server. Nothing here needs torch."""
