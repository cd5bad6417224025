from __future__ import annotations

import numpy as np


def test_bertopic_takes_the_encoder_as_its_own_backend(encoder):
    from bertopic.backend._utils import select_backend

    from pipeline import Encoder

    backend = select_backend(encoder)
    assert backend is encoder
    assert isinstance(encoder, Encoder)
    np.testing.assert_array_equal(backend.embed_words(["cat"]), encoder.encode(["cat"]))


def test_it_is_a_step_of_a_scikit_learn_pipeline(encoder, texts):
    from sklearn.decomposition import TruncatedSVD
    from sklearn.pipeline import make_pipeline

    reduced = make_pipeline(encoder, TruncatedSVD(3, random_state=0)).fit_transform(texts)
    assert reduced.shape == (len(texts), 3)
