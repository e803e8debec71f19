def dJ_dx(z, V):
    return z
