"""What one writes without ilk: timm, a DataLoader and scikit-learn.

    python -m benchmarks.first_minute.plain_script FOLDER

Encodes every photo with `tf_efficientnet_lite0` in batches of 32 and prints the accuracy of
shrinkage linear discriminant analysis in five-fold cross-validation.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


def main(folder: Path) -> float:
    """Return the cross-validated accuracy."""
    from ilk.hub.torchvision_ops import declare_missing_ops

    declare_missing_ops()
    import numpy as np
    import timm
    import torch
    from PIL import Image
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.model_selection import cross_val_score
    from timm.data import create_transform
    from torch.utils.data import DataLoader, Dataset

    from ilk.encoders.efficientnet_lite0 import EmbeddedCheckpoint

    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    tensors = torch.load(EmbeddedCheckpoint().path, weights_only=True)
    network.load_state_dict(dict(zip(network.state_dict(), tensors.values(), strict=True)))
    transform = create_transform(
        (3, 224, 224),
        interpolation="bicubic",
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
        crop_pct=0.875,
    )
    files = sorted(folder.rglob("*.jpg"))
    classes = sorted({file.parent.name for file in files})

    class Photos(Dataset[Any]):
        def __len__(self) -> int:
            return len(files)

        def __getitem__(self, i: int) -> Any:
            with Image.open(files[i]) as image:
                return transform(image.convert("RGB")), classes.index(files[i].parent.name)

    x, y = [], []
    with torch.inference_mode():
        for images, labels in DataLoader(Photos(), batch_size=32, num_workers=2):
            features = network.forward_head(network.forward_features(images), pre_logits=True)
            x.append(features.numpy())
            y.append(labels.numpy())
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    return float(cross_val_score(model, np.concatenate(x), np.concatenate(y), cv=5).mean())


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
