def dJ_dx(z):
    return z


def dJ_dx(x):
    return x
