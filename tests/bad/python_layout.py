layout = 'row'


def dJ_dx(x):
    return x
