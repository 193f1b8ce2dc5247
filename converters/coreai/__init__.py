"""Core AI: `.aimodel`, Apple's framework of iOS 27, run in Apple's own runtime on Linux too."""
