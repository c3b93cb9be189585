"""The families of networks, one module each: `content(checkpoint, extras) -> Content`.

A new family is a module here, its network in `nets/`, and a line in FAMILIES.
"""

from __future__ import annotations

FAMILIES = {
    "stylegan2": "NVlabs .pkl of a StyleGAN2 (stylegan2-ada-pytorch, stylegan3), rosinality .pt",
    "stylegan1": "IVRL's or lernapparat's .pth, a state dict",
    "starganv2": "clovaai's nets_ema.ckpt; wing.ckpt for FAN alone",
    "vaegan": "this project's own, .pt, .safetensors or Keras .h5 (zoo.vaegan)",
    "lookalike": "this project's own, .pt, .safetensors or Keras .h5 (zoo.lookalike)",
    "vgg": "torchvision vgg16 or vgg19 .pth, normalised VGG-19 .pth, VGG-19 distilled to 16x .pth",
    "adain": "this project's own, .pt or .safetensors (zoo.adain)",
    "generic": "any image-to-image .onnx, with --range",
    "faces": "YuNet .onnx, PFLD .onnx; this project's own, .safetensors (zoo.detector)",
    "arcface": "insightface iresnet .pth, TreB1eN ir_se50 .pth, foamliu MobileFaceNet .pt",
    "encoder": "pSp .pt, e4e .pt",
}
"""Name -> the checkpoints it reads. The name is the module's, too."""
