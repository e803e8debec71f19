def dj_dw(z):
    return z
