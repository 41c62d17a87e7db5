"""What the audio-visual systems read their two inputs with; see :mod:`evermodels.models.hicmae` and its neighbours."""
