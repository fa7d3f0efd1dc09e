"""Models: networks over timm encoders."""
