"""What `ilk finetune` does: a pretrained network tuned on a folder of images, where that pays."""
