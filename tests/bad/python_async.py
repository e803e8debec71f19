async def dJ_dx(x):
    return x
