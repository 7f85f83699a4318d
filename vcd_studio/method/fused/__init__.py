"""SD 1.5's blocks with what lies between their products of matrices done in few passes over memory: ``kernels`` in Triton for NVIDIA cards,
``layers`` and ``group_norm`` that call them, and ``blocks`` made of these, in place of diffusers' own."""
