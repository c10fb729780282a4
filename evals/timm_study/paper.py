"""What paper 000 prints, to stand beside what a run gives."""

# Table 1: mean accuracy in % of the five models of highest, middling and lowest alignment.
TABLE1 = {
    "a top1": {
        "pearson": (59.93, 10.26, 30.89),
        "spearman": (46.83, 12.30, 21.80),
        "triplet": (44.56, 18.35, 29.99),
    },
    "a top5": {
        "pearson": (84.92, 36.54, 59.10),
        "spearman": (73.86, 38.14, 49.36),
        "triplet": (72.20, 46.63, 57.70),
    },
    "r top1": {
        "pearson": (61.57, 39.16, 51.33),
        "spearman": (53.78, 40.01, 46.76),
        "triplet": (54.27, 41.80, 50.16),
    },
    "r top5": {
        "pearson": (75.92, 55.08, 66.55),
        "spearman": (68.61, 56.81, 61.84),
        "triplet": (68.82, 57.67, 65.22),
    },
    "sketch top1": {
        "pearson": (48.06, 26.90, 38.11),
        "spearman": (40.37, 28.02, 33.90),
        "triplet": (40.31, 29.85, 37.04),
    },
    "sketch top5": {
        "pearson": (71.10, 44.90, 58.91),
        "spearman": (62.45, 46.67, 53.43),
        "triplet": (62.24, 48.58, 57.57),
    },
}
# Table 2: partial correlation of z² with accuracy, given ImageNet top-1.
TABLE2 = {
    "a top1": {"pearson": 0.239, "spearman": 0.151, "triplet": 0.157},
    "a top5": {"pearson": 0.210, "spearman": 0.112, "triplet": 0.121},
    "r top1": {"pearson": 0.166, "spearman": 0.164, "triplet": 0.182},
    "r top5": {"pearson": 0.173, "spearman": 0.170, "triplet": 0.194},
    "sketch top1": {"pearson": 0.191, "spearman": 0.164, "triplet": 0.179},
    "sketch top5": {"pearson": 0.211, "spearman": 0.197, "triplet": 0.218},
}
# Section 5: correlation of triplet alignment with the other metrics.
WITH_TRIPLET = {"spearman": 0.992, "pearson": 0.824}
# Appendix C: correlation of ImageNet top-1 with other properties; 1-shot by the linear probe.
WITH_IMAGENET = {"a top1": 0.81, "sketch top1": 0.86, "r top1": 0.82}
# The appendix says CIFAR10, everything else in the paper CIFAR100.
WITH_IMAGENET_1_SHOT = {"cifar100": 0.68, "fashion_mnist": 0.10, "mnist": 0.07}
# Section 4.1: "about 20% of the variance in one-shot learning performance".
VARIANCE_1_SHOT = 0.20
N_MODELS = 491
