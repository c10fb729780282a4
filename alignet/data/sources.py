"""Where the public data come from and where they go: one row a data set.

Every address was found in a published file, named in the comment beside it; what could not be
found in one is a manual step. A hash is given where the publisher's own repository or a library
that fetches the same file fixes the content; what has none is kept as it was first seen.
"""

from typing import NamedTuple

from alignet.data.layout import Folder


class File(NamedTuple):
    """Something to download.

    Attributes:
      url: its address.
      path: where it goes below the data folder; an archive is deleted once it is unpacked.
      sha256: of its content, where it is known.
      size: bytes, where it is known.
      unpack: of an archive: the folder that its files go to, and what they have to be.
    """

    url: str
    path: str
    sha256: str | None = None
    size: int | None = None
    unpack: Folder | None = None


class Source(NamedTuple):
    """A data set.

    Attributes:
      name: for the command line.
      about: what it is, in a few words.
      licence: what its publisher says about use.
      page: where to read about it.
      layouts: what has to lie in the data folder in the end; any one of them will do.
      files: what is downloaded.
      manual: what a person has to do, in one sentence, if not all can be downloaded.
    """

    name: str
    about: str
    licence: str
    page: str
    layouts: tuple[tuple[Folder, ...], ...]
    files: tuple[File, ...] = ()
    manual: str | None = None


RAW = "https://raw.githubusercontent.com"

# get_embeddings.sh of LukasMut/VICE fetches from this address (there: branch main). The commit of
# 2021 is the last that has sortindex; hashes are of the repository's own blobs, and the one of its
# item_names.tsv is that of OSF's copy (osf.io/download/sz2ux) in cblearn's datasets.
VICE = f"{RAW}/LukasMut/VICE/5f80103ef4c9eb29477c4cadb1c9c54476d59e97"
VICE_2021 = f"{RAW}/LukasMut/VICE/f484c1446459c12c15deb2df1476f53969ad6f4d"

TRIPLETS = Folder(
    "things",
    (
        "triplets_large_final_correctednc_correctedorder.csv",
        "trainset.txt",
        "validationset.txt",
        "testset1.txt",
        "testset2.txt",
        "testset2_repeat.txt",
        "testset3.txt",
    ),
)

PETERSON = ("animals", "automobiles", "fruits", "furniture", "various", "vegetables")
# Hashes of the repository's own blobs. Its README: the images were scraped from the web.
PERCEPT2VEC = f"{RAW}/jcpeterson/percept2vec/2f82c622a8c4677101364e0b22883fc32e782faf"

# README of google-deepmind/alignet names …/release_1.1/index.html; its data.py reads
# TRANSFORM/{train,val}_SAMPLING.npz below it, and issue 9 there found the file for training.
ALIGNET = "https://storage.googleapis.com/alignet"
# README: a .tar.gz for each of eight models and three variants, listed in models/index.html. These
# three are the ones whose addresses others have written down: himjl/enczoo (ViT-B)
# and ViCCo-Group/dimpred (SigLIP2-B, with its size).
SAVED_MODELS = {
    "SigLIP2-B-alignet": 350_866_208,
    "ViT-B-alignet": None,
    "ViT-B-untransformed": None,
}

# results/ of the repository, at the commits of the two times; hashes and sizes of its own blobs.
TIMM = f"{RAW}/huggingface/pytorch-image-models"
TIMM_COMMITS = {
    "2022-01": "499c4749d75fa9eb88001499f5f5a8d86b5d1a09",
    "2022-07": "326ade299983a1d72b0f4def1299da1bb0f6b6f2",
}
TIMM_RESULTS = (
    "results-imagenet.csv",
    "results-imagenet-a.csv",
    "results-imagenet-a-clean.csv",
    "results-imagenet-r.csv",
    "results-imagenet-r-clean.csv",
    "results-imagenet-real.csv",
    "results-imagenetv2-matched-frequency.csv",
    "results-sketch.csv",
)
TIMM_CONTENTS = {  # sizes and hashes, in the order of the files
    "2022-01": (
        (37706, "cb5d9aa1beada6800ca8620a9bcf311b90b541b605ccefd22f1953c50c91cf2d"),
        (48953, "c786339a36c99f83d867664633f9a31e14f461e0f9f15964c1c3a1fe98fffcff"),
        (37172, "026162adbb2c127e0e9b9aec220c66da7cbb55d1cf187decbc8f73fe1975bf49"),
        (49220, "62f7ea63267c775a2b064bbb64858edf0e3c4e510d7627949859ab6b8f196df0"),
        (37167, "6d164e663239258aa35abeff2760c5d64f6ef4e83905fd048a5610d498ce41c1"),
        (47316, "4ba00aedc5ec9f4a972f129523eadb4cd85441e3cf8dc62d4923777695ccd03e"),
        (48217, "bfa8fd4838d4589b352cba82a0c2ee29ad6d7c6761d4bc2085d65575ecc8fb29"),
        (49210, "47cafd2426fab293644f6c213cdf1ace28437cc5ea0cc0a7deb175f7d2a58a9e"),
    ),
    "2022-07": (
        (45744, "e356bcc873ce4688f9e5f5b48b9afe361d26861cd30b8a1b5d16b763e6c2a9ee"),
        (59297, "167bb657fb569ae124be4f6f14a1d45846f7ff74eeec09789ebfa76974722880"),
        (45100, "39e2ed9f2cd33d3d7bf11ccfed899a6fe6548bd11e9ff79da47b594f46b3964e"),
        (59640, "8a36536785875dc34b646b81ec40886ecf9482bae8442b88ec2b24812610a192"),
        (45095, "b792d66b9cafee715a3f281a1ee4bd9e185ce9c0ea432ff1e57bb313ebb89bbf"),
        (57343, "9d20c8ed18eace448347527ab4f9ac96c9e2c6c6b86d773fe9309bbcf349ff1e"),
        (58379, "abc7a29fe236922d3dc112b6d95cd6004d62afafb842fb2e92ac8405a75cf8c7"),
        (59628, "b6d3e3b2f68946a4bb083eb65677f8adeefc4a4a645f2a25d591bc31da590a93"),
    ),
}

# breeds_helpers.py of MadryLab/robustness fetches the first three from this repository (there:
# branch master); its folder wordnet/ has ImageNet's own two files. Hashes of its own blobs.
BREEDS = f"{RAW}/MadryLab/BREEDS-Benchmarks/f83be509107e89f41dde0e4e8e7f8be051fbb891"
IMAGENET_TABLES = {  # address, size and hash, by place
    "imagenet/breeds_modified_class_hierarchy.txt": (
        f"{BREEDS}/imagenet_class_hierarchy/modified/class_hierarchy.txt",
        26_318,
        "039cfaddf9732855b93f7899ba4b5ba6d80f8dbe15cfaad566f575b6c8ce0216",
    ),
    "imagenet/breeds_modified_dataset_class_info.json": (
        f"{BREEDS}/imagenet_class_hierarchy/modified/dataset_class_info.json",
        44_565,
        "be90503d57a001f95e094a81dc4de90772bfc58546ca58061d6474799829afd0",
    ),
    "imagenet/breeds_modified_node_names.txt": (
        f"{BREEDS}/imagenet_class_hierarchy/modified/node_names.txt",
        40_652,
        "322af45711ed69a7b199f11225bd964c7dae71df3c586498bef2f7c9e031dedb",
    ),
    "imagenet/wordnet.is_a.txt": (
        f"{BREEDS}/imagenet_class_hierarchy/wordnet/class_hierarchy.txt",
        1_517_000,
        "ff7206572ae989d1de8acbd6cbd921854fefd32dcdcb50eab11b81e797e28cd1",
    ),
    "imagenet/words.txt": (
        f"{BREEDS}/imagenet_class_hierarchy/wordnet/node_names.txt",
        2_655_750,
        "55df3c6ee75859de344e2834ef65d88d61cec389d57e787be59e942c9b73e9aa",
    ),
    "timm_results/imagenet_real_labels.json": (
        f"{TIMM}/{TIMM_COMMITS['2022-01']}/results/imagenet_real_labels.json",
        388_478,
        "d83e9bff374c631aae8439eb064c7019acc56e1b3bc3f56b8380c2a710b0220b",
    ),
}

SOURCES = (
    Source(
        name="things",
        about="4.7 million odd-one-out choices, and the names and categories of the objects",
        licence="CC-BY-4.0",
        page="https://osf.io/f5rn6",
        layouts=(
            (TRIPLETS, Folder("things", ("unique_id.txt", "sortindex", "category_mat_manual.tsv"))),
        ),
        files=(
            # bin/get_data.sh of candemircan/metalign has both OSF addresses and unpacks
            # triplet_dataset/; the names in it are those of the release's own README.
            File(
                url="https://osf.io/n9u4a/download",
                path="things/triplet_dataset.zip",
                unpack=TRIPLETS,
            ),
            File(url="https://osf.io/7zuah/download", path="things/unique_id.txt"),
            File(
                url=f"{VICE_2021}/data/sortindex",
                path="things/sortindex",
                sha256="37720adbfbdc9637c1be642ed296c3bc2afbe1d2831418b7a9f941bc03d65a08",
                size=8159,
            ),
            File(
                url=f"{VICE_2021}/data/category_mat_manual.tsv",
                path="things/category_mat_manual.tsv",
                sha256="9f4f9a4626f23064dad9a7547ffa1e3a0a6b1fe23281d74cb394ee0367f53af4",
                size=100_398,
            ),
            File(
                url=f"{VICE_2021}/data/things_concepts.tsv",
                path="things/things_concepts.tsv",
                sha256="f6eb4ec6fcad61e50a746bee820f98d1595fe655e9e210a9a407e9a17fd8cee4",
                size=497_467,
            ),
        ),
    ),
    Source(
        name="things-images",
        about="the 1,854 photographs that people saw",
        licence="research only; its licence has to be accepted",
        page="https://osf.io/jum2f",
        layouts=((Folder("things/images", ("*.jpg",), 1854),),),
        # The release's own README (f5rn6) has this address and what downloading it confirms.
        manual="If you use them for research only, as https://osf.io/jum2f asks you to confirm, "
        "unpack https://martin-hebart.com/reference_images.zip so that the photographs lie in "
        "things/images/, named as in unique_id.txt (things/images/aardvark.jpg).",
    ),
    Source(
        name="vice",
        about="VICE's means for the THINGS objects",
        licence="GPL-3.0, as its repository",
        page="https://github.com/LukasMut/VICE",
        layouts=((Folder("things", ("vice_embedding.npy",)),),),
        files=(
            File(
                url=f"{VICE}/embeddings/things/final_embedding.npy",
                path="things/vice_embedding.npy",
                sha256="6c596ec9fe6e135e3fd32207d4d1d5eb004e3cef3810d5cb40474b1996d5392f",
                size=311_600,
            ),
        ),
    ),
    Source(
        name="spose",
        about="SPoSE's 66 and 49 dimensions of the THINGS objects",
        licence="CC-BY-4.0",
        page="https://osf.io/f5rn6",
        layouts=(
            (
                Folder(
                    "things", ("spose_embedding_66d_sorted.txt", "spose_embedding_49d_sorted.txt")
                ),
            ),
        ),
        files=(
            # As unique_id.txt; the README of marblestation/THINGS-MEG-natural has it too.
            File(url="https://osf.io/nfbp3/download", path="things/spose_embedding_66d_sorted.txt"),
            # README of candemircan/NaturalCogSci, data/; project z2784.
            File(url="https://osf.io/4pgk8/download", path="things/spose_embedding_49d_sorted.txt"),
        ),
    ),
    Source(
        name="levels",
        about="odd-one-out choices and response times at three levels of abstraction",
        licence="as its page says; the photographs are ImageNet's",
        page="https://gin.g-node.org/fborn/Dataset_Levels",
        layouts=((Folder("levels", ("*.json", "images/")), Folder("levels/images", ("*.JPEG",))),),
        # README of google-deepmind/alignet. No file names are known, and GIN serves large files
        # through git-annex only.
        manual="Clone https://gin.g-node.org/fborn/Dataset_Levels and fetch its large files with "
        "`git annex get .`, copy the .json files of the trials to levels/, and copy the "
        "photographs that they name, from there or from ImageNet's training set, to "
        "levels/images/ (levels/images/n01494475_22820.JPEG).",
    ),
    Source(
        name="peterson",
        about="similarity ratings of six sets of 120 photographs",
        licence="none given; the photographs are from the web",
        page="https://github.com/jcpeterson/percept2vec",
        layouts=(
            (
                Folder("peterson", tuple(f"{name}/" for name in PETERSON)),
                *(Folder(f"peterson/{n}/images", ("*.jpg|*.png",), 120) for n in PETERSON),
                *(
                    Folder(f"peterson/{n}/sim_judgments|sim_judgements", ("*.mat|*.npz",))
                    for n in PETERSON
                ),
            ),
            (Folder("peterson", ("similarity.npz", "filenames.json")),),
        ),
        files=(
            File(
                url=f"{PERCEPT2VEC}/turkResults_CogSci2016.mat",
                path="peterson/animals/sim_judgments/turkResults_CogSci2016.mat",
                sha256="57317121aaa43f553b6551d523eaf0740269e695c0dc438f36735f2ccb85977e",
                size=65_856,
            ),
            File(
                url=f"{PERCEPT2VEC}/animals.zip",
                path="peterson/animals/images.zip",
                unpack=Folder("peterson/animals/images", ("*.jpg|*.png",)),
            ),
        ),
        manual="Only the animals are public: ask the authors of Peterson et al. (2018) for the "
        "other five sets, and put the photographs of each into peterson/SET/images/ and its .mat "
        "into peterson/SET/sim_judgments/ (a set that comes as a pickle: as an .npz with "
        "`similarity`, the rows in the order of the sorted file names).",
    ),
    Source(
        name="cichy",
        about="arrangements of 118 photographs by how alike they are",
        licence="none given",
        page="https://doi.org/10.1016/j.neuroimage.2019.03.031",
        layouts=(
            (
                Folder("cichy/images", ("*.jpg|*.png",), 118),
                Folder("cichy/sim_judgements|sim_judgments", ("judgments_general.mat",)),
            ),
        ),
        manual="Ask the authors of Cichy et al. (2019) for the data, and put the photographs into "
        "cichy/images/ and judgments_general.mat into cichy/sim_judgements/.",
    ),
    Source(
        name="king",
        about="arrangements of two sets of photographs by how alike they are",
        licence="none given",
        page="https://doi.org/10.1101/316554",
        layouts=(
            (
                Folder("king", ("images/",)),
                Folder("king/images", ("set1/", "set2/", "stimulus_category_labels.txt")),
                Folder("king/images/set1", ("*.jpg",)),
                Folder("king/images/set2", ("*.jpg",)),
                Folder("king/sim_judgements|sim_judgments", ("BEHAVIOR.mat",)),
            ),
        ),
        manual="Ask the authors of King et al. (2019) for the data, and put the photographs into "
        "king/images/set1/ and set2/, stimulus_category_labels.txt into king/images/ and "
        "BEHAVIOR.mat into king/sim_judgements/.",
    ),
    Source(
        name="alignet-triplets",
        about="10 million triplets of ImageNet with the aligned teacher's similarities",
        licence="CC-BY-4.0",
        page="https://github.com/google-deepmind/alignet",
        layouts=(
            (
                Folder(
                    "alignet/uncertainty_distillation",
                    ("train_cluster_border_500.npz", "val_cluster_border_500.npz"),
                ),
            ),
        ),
        files=tuple(
            File(
                url=f"{ALIGNET}/data/release_1.1/uncertainty_distillation/{split}_cluster_border_500.npz",
                path=f"alignet/uncertainty_distillation/{split}_cluster_border_500.npz",
            )
            for split in ("train", "val")
        ),
    ),
    Source(
        name="alignet-models",
        about="three of the released SavedModels; they need TensorFlow",
        licence="CC-BY-4.0 and the models' own; see the file in each",
        page="https://github.com/google-deepmind/alignet",
        layouts=(tuple(Folder(f"alignet/models/{n}", ("saved_model.pb",)) for n in SAVED_MODELS),),
        files=tuple(
            File(
                url=f"{ALIGNET}/models/{name}.tar.gz",
                path=f"alignet/models/{name}.tar.gz",
                size=size,
                unpack=Folder(f"alignet/models/{name}", ("saved_model.pb",)),
            )
            for name, size in SAVED_MODELS.items()
        ),
        manual="The other 21 models are listed in "
        "https://storage.googleapis.com/alignet/models/index.html; unpack those that you want in "
        "alignet/models/ (alignet/models/CapPa-B-alignet/saved_model.pb).",
    ),
    Source(
        name="timm",
        about="timm's ImageNet results of January and July 2022",
        licence="Apache-2.0",
        page="https://github.com/huggingface/pytorch-image-models/tree/main/results",
        layouts=(tuple(Folder(f"timm_results/{m}", TIMM_RESULTS) for m in TIMM_COMMITS),),
        files=tuple(
            File(
                url=f"{TIMM}/{commit}/results/{name}",
                path=f"timm_results/{month}/{name}",
                sha256=sha256,
                size=size,
            )
            for month, commit in TIMM_COMMITS.items()
            for name, (size, sha256) in zip(TIMM_RESULTS, TIMM_CONTENTS[month], strict=True)
        ),
    ),
    Source(
        name="imagenet-tables",
        about="what ImageNet's classes are kinds of, by WordNet and by BREEDS, and its ReaL labels",
        licence="WordNet's own; none given for BREEDS; Apache-2.0 for the labels",
        page="https://github.com/MadryLab/BREEDS-Benchmarks",
        layouts=(
            (
                Folder(
                    "imagenet",
                    (
                        "breeds_modified_class_hierarchy.txt|class_hierarchy.txt",
                        "breeds_modified_dataset_class_info.json|dataset_class_info.json",
                        "breeds_modified_node_names.txt|node_names.txt",
                        "wordnet.is_a.txt",
                        "words.txt",
                    ),
                ),
                Folder("timm_results", ("imagenet_real_labels.json",)),
            ),
        ),
        files=tuple(
            File(url=url, path=path, sha256=sha256, size=size)
            for path, (url, size, sha256) in IMAGENET_TABLES.items()
        ),
    ),
    Source(
        name="imagenet",
        about="the photographs of ILSVRC 2012",
        licence="non-commercial research; registration",
        page="https://image-net.org/download-images",
        layouts=(),
        # README of google-deepmind/alignet; tensorflow_datasets' catalogue, imagenet2012.
        manual="Register at https://image-net.org/download-images, put ILSVRC2012_img_train.tar "
        "and ILSVRC2012_img_val.tar into ~/tensorflow_datasets/downloads/manual/, and run "
        "`tfds.data_source('imagenet2012')` once.",
    ),
)
