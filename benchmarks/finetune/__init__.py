"""Does tuning a network pay, beside a head on its frozen features?"""
