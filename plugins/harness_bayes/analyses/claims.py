"""The claims are what the paper states of optimal and learned classifiers; judges decide them."""

from __future__ import annotations

from functools import partial

from harness.analysis.claims import Claim
from harness_bayes.analyses.judges import (
    REAL,
    as_published,
    asymmetric_weaker,
    attacks_agree,
    brittle,
    few_levels,
    half_distance,
    no_gain,
    optimal_accurate,
    rbf_near_optimal,
    rbf_robust,
    samples_suffice,
    trades_costs,
    wide_is_linear,
)
from harness_bayes.analyses.study import CNN, LINEAR

CLAIMS = (
    Claim(
        "the Bayes-optimal classifier is right on nearly all samples of symmetric data",
        short="Bayes-optimal: accuracy near 100 %",
        paper="100 % on all 15 symmetric data sets (table 1)",
        conditions="accuracy on symmetric samples of at least {near}",
        judge=optimal_accurate,
        missing="the Bayes-optimal model was not attacked on symmetric samples",
    ),
    Claim(
        "asymmetric data make the Bayes-optimal classifier vulnerable",
        short="asymmetric: far less L2 than symmetric",
        paper="faces: below 1.5 asymmetric, about 3 symmetric (section 2.1, figures 1 and 4)",
        conditions="mean L2 of the Bayes-optimal model on symmetric data at least {contrast} times that on "
        "asymmetric; of faces also below {indistinguishable} on asymmetric data",
        judge=asymmetric_weaker,
        missing="the Bayes-optimal model was not attacked on both kinds of samples",
    ),
    Claim(
        "what fools the Bayes-optimal classifier is half the distance to the other class's nearest subspace",
        short="L2 is half the subspace distance",
        paper="Male: mean distance 6.2, mean L2 3 (figure 11, appendix D.1); other symmetric data sets the "
        "same",
        conditions="mean over cases of L2 over half the distance within {tolerance} of 1, on symmetric "
        "samples",
        judge=half_distance,
        missing="no distances are known of symmetric samples that were attacked",
    ),
    Claim(
        "faces whose L2 is small differ by few 8-bit levels, and those around 3 by more",
        short="L2 below 1.5: within 5 of 255 levels",
        paper="mean L2 below 1.5: the vast majority of pixels within 5/255; around 3: many differ by more "
        "(section 2.1; no numbers)",
        conditions="every model of faces: at least {majority} of the values within {levels} levels where "
        "the mean L2 is below {indistinguishable}, at most {majority} where it is {perceptible} or more",
        judge=few_levels,
        missing="no face was attacked whose mean L2 is known to be small or large",
    ),
    Claim(
        "CNNs are accurate and brittle where the optimal classifier is robust",
        short="CNN: accurate, at most half of the L2",
        paper="accuracy 98 to 100 % on all 15 symmetric data sets, vulnerable on all (table 1, figure 6, "
        "which gives no numbers of L2)",
        conditions="symmetric samples: mean L2 at most {part} of the Bayes-optimal model's, accuracy at "
        "least {accurate}; the CNN that others are variants of, by the nearest adversarial of all attacks "
        "where the paper has CW-L2, whose own figure stands beside",
        judge=partial(brittle, kind=CNN),
        missing="no CNN was attacked beside the Bayes-optimal model on symmetric samples",
    ),
    Claim(
        "linear SVMs are accurate and brittle where the optimal classifier is robust",
        short="linear SVM: accurate, at most half of the L2",
        paper="accuracy 100 % on all 15 symmetric data sets, vulnerable on all (table 1, figure 6, which "
        "gives no numbers of L2)",
        conditions="symmetric samples: mean L2 at most {part} of the Bayes-optimal model's, accuracy at "
        "least {accurate}",
        judge=partial(brittle, kind=LINEAR),
        missing="no linear SVM was attacked beside the Bayes-optimal model on symmetric samples",
    ),
    Claim(
        "RBF SVMs are more robust than CNNs on the same data",
        short="RBF SVM: more L2 than CNN",
        paper="consistently robust, at accuracies of 86 to 100 % (section 3, table 1, figure 6; no numbers "
        "of L2)",
        conditions="symmetric samples: mean L2 of the RBF SVM over the CNN's above 1",
        judge=rbf_robust,
        missing="no RBF SVM was attacked beside a CNN on symmetric samples",
    ),
    Claim(
        "RBF SVMs are accurate, and robust as the optimal classifier is",
        short="RBF SVM: accurate, half of the L2 or more",
        paper="robust on all 15 symmetric data sets, at accuracies of 86 to 100 % (table 1, figure 6; no "
        "numbers of L2)",
        conditions="symmetric samples: mean L2 at least {part} of the Bayes-optimal model's, accuracy at "
        "least {rbf}",
        judge=rbf_near_optimal,
        missing="no RBF SVM was attacked beside the Bayes-optimal model on symmetric samples",
    ),
    Claim(
        "RBF SVMs of too wide a kernel are like linear SVMs",
        short="wide RBF SVM: like a linear one",
        paper="with too large a bandwidth, the RBF SVM performs similarly to a linear one (section 3; no "
        "numbers)",
        conditions="symmetric samples, the RBF SVM whose largest gamma is below that of the one that others "
        "are variants of: mean L2 over the linear SVM's between 1/{agreement} and {agreement}, accuracy "
        "within {loss} of it",
        judge=wide_is_linear,
        missing="no RBF SVM with a wider kernel (a lower finest) was attacked beside a linear SVM",
    ),
    Claim(
        "wider CNNs are not more robust",
        short="CNN: width does not help",
        paper="no improvement by the number of filters (section 3, figure 8; no numbers)",
        conditions="CNNs that differ in width alone: mean L2 of each at most {gain} of the narrowest one's",
        judge=partial(no_gain, variable="width"),
        missing="no two CNNs differ in width alone",
    ),
    Claim(
        "deeper CNNs are not more robust",
        short="CNN: depth does not help",
        paper="no improvement by the number of layers (section 3, figure 8; no numbers)",
        conditions="CNNs that differ in depth alone: mean L2 of each at most {gain} of the shallowest one's",
        judge=partial(no_gain, variable="depth"),
        missing="no two CNNs differ in depth alone",
    ),
    Claim(
        "more training images do not make CNNs more robust",
        short="CNN: more images do not help",
        paper="no significant improvement up to 1 million images (section 3, figure 8; no numbers)",
        conditions="CNNs that differ in training images alone: mean L2 of each at most {gain} of that of the "
        "fewest",
        judge=partial(no_gain, variable="images"),
        missing="no two CNNs differ in training images alone",
    ),
    Claim(
        "adversarial training buys robustness with accuracy",
        short="TRADES: robustness for accuracy",
        paper="depending on β robust, at lowered accuracy (section 3, figure 8 right; no numbers)",
        conditions="the β of the largest mean L2: mean L2 over the plain CNN's above 1, and accuracy below "
        "the plain CNN's",
        judge=trades_costs,
        missing="no CNN was trained by TRADES beside a plain one",
    ),
    Claim(
        "the gradient attack and CW-L2 find similar distances",
        short="gradient attack and CW-L2 agree",
        paper="similar perturbation magnitudes (section 2.1, appendix C.2; no numbers)",
        conditions="Bayes-optimal and SVMs, cases that both broke: mean L2 of the gradient attack over "
        "CW-L2's between 1/{agreement} and {agreement}",
        judge=attacks_agree,
        missing="no such model was attacked by a gradient attack and CW-L2",
    ),
    Claim(
        "on real images the models stand in the same order",
        short="real images: RBF SVM above CNN, linear",
        paper="CNN and linear SVM vulnerable, RBF SVM robust (section 3, figure 9; no numbers)",
        conditions="real images: mean L2 of the RBF SVM over the CNN's and over the linear SVM's above 1",
        judge=partial(rbf_robust, group=REAL, others=(CNN, LINEAR)),
        missing="no RBF SVM was attacked beside a CNN or a linear SVM on real images",
    ),
    Claim(
        "on real images the models are as accurate as published",
        short="real images: accuracies of table 2",
        paper="Male: CNN 94.7, linear 89.7, RBF 89.7 %; Smiling: 88.0, 88.3, 84.3 %; three more attributes "
        "(table 2)",
        conditions="real images: accuracy of the CNN and of both SVMs within {loss} of the published one",
        judge=as_published,
        missing="no CNN or SVM was attacked on real images of an attribute of table 2",
    ),
    Claim(
        "a CNN that learned from samples is nearly as accurate on real images",
        short="trained on samples: at most 5 points less",
        paper="5 points less on average (appendix D.4.2); Male 92.3 and 88.0 %, Smiling 89.5 and 85.6 % "
        "(table 3)",
        conditions="real images: accuracy of the CNN that learned from real images at most {loss} above "
        "that of the one that learned from symmetric samples",
        judge=samples_suffice,
        missing="no CNN was trained both on real images and on symmetric samples, and tested on real ones",
    ),
)
