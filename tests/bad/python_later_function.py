def dJ_dx(g):
    return g


def g(z):
    return z
