def dJ_dx(*args):
    return args
