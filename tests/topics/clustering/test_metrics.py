from __future__ import annotations

import numpy as np
import pytest

from pipeline.topics.clustering.metrics import agreement, diversity, npmi, outlier_rate, stability


def npmi_of(topics, texts):
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer()
    counts = vectorizer.fit_transform(texts)
    return npmi(topics, vectorizer.get_feature_names_out().tolist(), counts)


def test_npmi_is_that_of_document_windows():
    texts = ["cat dog", "cat dog", "fish", "bird"]
    assert npmi_of([["cat", "dog"]], texts) == pytest.approx(1)
    assert npmi_of([["cat", "fish"]], texts) == pytest.approx(np.log(1e-12 / (0.5 * 0.25)) / -np.log(1e-12))
    three = np.log(0.25 / (0.5 * 0.25)) / -np.log(0.25)
    assert npmi_of([["cat", "ox"]], ["cat cat ox", "cat", "dog", "dog"]) == pytest.approx(three)
    assert npmi_of([["cat", "dog"]], ["cat dog"]) == pytest.approx(1)
    assert npmi_of([["cat"]], texts) is None


def test_diversity_and_outlier_rate():
    assert diversity([["a", "b"], ["b", "c"]]) == 0.75
    assert diversity([[]]) is None
    assert outlier_rate(np.array([-1, 0, 1, -1])) == 0.5


def test_agreement_counts_outliers_aside_or_as_a_group_of_their_own():
    same = agreement(np.array([3, 3, 7, 7]), ["a", "a", "b", "b"])
    assert same == pytest.approx({"ami": 1, "v_measure": 1, "ami_all": 1})
    half = agreement(np.array([0, 0, -1, -1, 1, 1]), ["a", "a", "a", "b", "b", "b"])
    assert half["ami"] == pytest.approx(1)
    assert half["ami_all"] < 0.9
    unknown = agreement(np.array([0, 0, 1, 1, 0]), ["a", "a", "b", "b", None])
    assert unknown == pytest.approx({"ami": 1, "v_measure": 1, "ami_all": 1})
    assert agreement(np.array([-1, 0]), ["a", None])["ami"] is None
    assert agreement(np.array([0]), [None]) == {"ami": None, "v_measure": None, "ami_all": None}


def test_stability_is_over_what_both_put_into_a_topic():
    assert stability(np.array([0, 0, 1, 1, -1]), np.array([5, 5, 2, 2, 2])) == pytest.approx(1)
    assert stability(np.array([-1, 0]), np.array([0, -1])) is None
