def dJ_dV(z):
    return z
