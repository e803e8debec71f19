layout = 'numerator'
