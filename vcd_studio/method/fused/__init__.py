"""SD 1.5's blocks on an NVIDIA card with what lies between their products of matrices done in few passes over memory: ``kernels`` in
Triton, ``layers`` that call them, and ``blocks`` made of these, in place of diffusers' own."""
