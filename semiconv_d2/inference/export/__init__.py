"""Trained models as files of TorchScript or ONNX, for programs without Detectron2."""
