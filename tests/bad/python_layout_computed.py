layout = 'num' + 'erator'


def dJ_dx(x):
    return x
