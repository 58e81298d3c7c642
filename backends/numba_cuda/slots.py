"""Where each number of a launch lies in the two rows that every kernel reads.

`g` holds integers (int64), `p` parameters in the element type of the data.
"""

from __future__ import annotations

# -- g: every kernel ------------------------------------------------------------------------------
COUNT, CODE = 0, 1
# what follows a product: whether there is a bias, a residual
HAS_BIAS, HAS_RESIDUAL = 2, 3

# -- g: kernels with a window; three numbers for each axis name, the last axis last ---------------
CHANNELS = 4  # operand channels of one group
MEMBERS = 5  # result channels of one group
IN, OUT, KERNEL, STRIDE, PAD, DILATION = 6, 9, 12, 15, 18, 21
POOL_KIND = 24
POOLED, POOL, POOL_STRIDE, POOL_PAD, POOL_END, POOL_DILATION = 25, 28, 31, 34, 37, 40
OUT_CHANNELS = 43
WINDOW_SLOTS = 44

# POOL_KIND; no pool is the maximum of one element
MAX, AVERAGE, AVERAGE_PADDED, P_NORM = 0, 1, 2, 3

# -- g: matrix products ---------------------------------------------------------------------------
ROWS, COLUMNS, DEPTH = 4, 5, 6
A_ROW, A_DEPTH, B_DEPTH, B_COLUMN, BIAS_ROW, BIAS_COLUMN = 7, 8, 9, 10, 11, 12
BATCH_RANK, BATCH = 13, 14

# -- g: the shared-weight matrix ------------------------------------------------------------------
PIXELS, IN_PIXELS = 6, 7  # of one result channel, of one operand channel
W_GROUP, W_MEMBER, W_CHANNEL = 8, 9, 10
GROUPS, ALL_ROWS, ALL_COLUMNS = 11, 12, 13
MATRIX_SLOTS = 14

# -- g: strided kernels: sizes, then the strides of each operand ----------------------------------
RANK, TABLE = 2, 3
Y_BASE, X_BASE, MOVE_RANK, MOVE_TABLE = 1, 2, 3, 4
INNER, INNER_RANK, OUTER_RANK, REDUCE_TABLE = 2, 3, 4, 5

# -- g: kernels along one axis --------------------------------------------------------------------
LENGTH, AFTER, BEFORE, NEIGHBOURS = 1, 2, 3, 4

# -- p --------------------------------------------------------------------------------------------
ALPHA, BETA, THIRD = 0, 1, 2
SCALE, BIAS_SCALE, EXPONENT = 3, 4, 5
PARAMETERS = 6
