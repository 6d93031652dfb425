# SPDX-License-Identifier: Apache-2.0
"""The accuracy of a saved model of `onebit train`, the `cnn`, in PyTorch: as `onebit evaluate` finds it.

    evaluate_in_pytorch.py MODEL.safetensors FASHION_MNIST      the folder of its files
"""
import collections, gzip, sys, torch
from torch.nn import Conv2d, Flatten, Linear, MaxPool2d, ReLU
from safetensors.torch import load_file

layers = collections.OrderedDict(conv1=Conv2d(1, 16, 3), pool1=MaxPool2d(2), relu1=ReLU(), conv2=Conv2d(16, 32, 3))
layers.update(pool2=MaxPool2d(2), relu2=ReLU(), flat=Flatten(), fc1=Linear(800, 64), relu3=ReLU(), fc2=Linear(64, 10))
model = torch.nn.Sequential(layers).requires_grad_(False)
model.load_state_dict(load_file(sys.argv[1]))
raw = lambda name: bytearray(gzip.open(f"{sys.argv[2]}/t10k-{name}-ubyte.gz").read())
images = torch.frombuffer(raw("images-idx3"), dtype=torch.uint8, offset=16).reshape(-1, 1, 28, 28)
labels = torch.frombuffer(raw("labels-idx1"), dtype=torch.uint8, offset=8).long()
scores = torch.cat([model((part / 255 - 0.2860) / 0.3530) for part in images.split(500)])
loss, right = torch.nn.functional.cross_entropy(scores, labels), scores.argmax(1) == labels
print(f"test loss {loss:.6f}, test accuracy {right.double().mean():.6f}, on {len(labels)} samples")
