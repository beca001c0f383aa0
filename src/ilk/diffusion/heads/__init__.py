"""Classifiers on the feature maps of a frozen diffusion network.

| file | head | input |
|---|---|---|
| `linear` | `LinearHead` | one map, pooled |
| `mlp` | `MLPHead` | one map, pooled |
| `cnn` | `CNNHead` | one map |
| `attention` | `AttentionHead` | one map as tokens |
| `difformer` | `DifFormer` | blocks x noise levels as tokens |
| `difffeed` | `DifFeed` | images: the network runs twice, with feedback |
| `satdiffuser` | `GlobalWeightedFusion`, `LocalWeightedFusion` | blocks x noise levels |
| `experts` | `MixtureOfExperts` | blocks x noise levels |

`fit.fit_head` trains any of them on maps, `fit.fit` trains `DifFeed` on images.
"""
