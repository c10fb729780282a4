"""Which synsets of WordNet 3.0 are superordinate and basic-level categories of ImageNet's classes.

Paper 002 (2.3, 4.4) extracted such categories from WordNet, following Rosch et al. (1976), but
names only seven superordinates; the tables are ours. They follow what Rosch et al. found: of
artefacts and of most mammals people name the kind (chair, guitar, dog); of birds, fish and trees,
the life form. A synset stands for all below it. A class is named itself where WordNet puts it
elsewhere than its photographs do; of two synsets that stand for a class the nearer one counts.
"""

# The first seven are those of the paper's Figure 22. Under "" is what WordNet counts among one of
# them and its photographs do not show as such: menus as food, seat belts as clothes.
SUPERORDINATES = {
    "animals": ("n00015388",),
    "clothes": (
        "n03051540",  # clothing
        "n03380867",  # footwear
        "n03381126",  # footwear, in WordNet's other sense
        "n03725035",  # mask
        "n03045698",  # cloak
        "n02834397",  # bib
        "n03929855",  # pickelhaube
    ),
    "food": (
        "n00021265",  # food, nutrient
        "n07555863",  # solid food
        "n07881800",  # beverage
        "n07705931",  # edible fruit
        "n12144580",  # corn
        "n13133613",  # ear of corn
    ),
    "furniture": (
        "n03405725",
        "n03637318",  # lampshade
    ),
    "musical instruments": ("n03800933",),
    "sports equipment": (
        "n04285146",
        "n02778669",  # ball
        "n04039381",  # racket
        "n04019541",  # puck
        "n04228054",  # ski
    ),
    "vehicles": (
        "n04524313",
        "n04019101",  # public transport
        "n03322940",  # farm machine
        "n03445924",  # golf cart
    ),
    "plants and fungi": (
        "n00017222",  # plant
        "n13086908",  # plant part
        "n12992868",  # fungus
        "n07734744",  # mushroom
    ),
    "buildings and structures": (
        "n04341686",  # structure
        "n04105068",  # roof
        "n02825657",  # bell cote
        "n03240683",  # drilling platform
        "n03776460",  # mobile home
        "n03933933",  # pier
        "n04562935",  # water tower
    ),
    "landscapes": ("n09287968",),  # geological formation
    "tools": (
        "n04451818",
        "n03039947",  # cleaning implement
        "n02966687",  # tool kit
        "n02797295",  # wheelbarrow
    ),
    "kitchenware": (
        "n03621049",  # kitchen utensil
        "n03438257",  # drinking glass
        "n02880940",  # bowl
        "n04284002",  # spoon
        "n03063599",  # coffee mug
        "n03062245",  # cocktail shaker
        "n03259280",  # Dutch oven
        "n03633091",  # ladle
        "n03733805",  # measuring cup
        "n03786901",  # mortar
        "n03961711",  # plate rack
        "n04131690",  # salt shaker
        "n04332243",  # strainer
    ),
    "containers": (
        "n03094503",
        "n04204347",  # shopping cart
    ),
    "appliances and electronics": (
        "n02729837",  # appliance
        "n03278248",  # electronic equipment
        "n03277771",  # electronic device
        "n03269401",  # electrical device
        "n03082979",  # computer
        "n03614007",  # keyboard
        "n04264628",  # space bar
        "n02942699",  # camera
        "n02977058",  # cash machine
        "n03271574",  # electric fan
        "n03492542",  # hard disc
        "n03584254",  # iPod
        "n03924679",  # photocopier
        "n04004767",  # printer
        "n04009552",  # projector
        "n04041544",  # radio
        "n04074963",  # remote control
        "n04265275",  # space heater
        "n04330267",  # stove
        "n04404412",  # television
    ),
    "measuring instruments": (
        "n03733925",
        "n03706229",  # compass
    ),
    "weapons and armour": (
        "n04565375",  # weapon
        "n02739668",  # armour
        "n02740764",  # armour plate
    ),
    "toiletries": ("n04447443",),
    "people": ("n00007846",),
    "": (
        "n02892201",  # brass plaque
        "n02978881",  # cassette
        "n03065424",  # coil
        "n03424325",  # gas mask
        "n03459775",  # radiator grille
        "n03529860",  # home theatre
        "n03530642",  # honeycomb
        "n03891332",  # parking meter
        "n04149813",  # scoreboard
        "n04162706",  # seat belt
        "n04235860",  # sleeping bag
        "n04238763",  # slide rule
        "n04423845",  # thimble
        "n04447861",  # toilet seat
        "n04501370",  # turnstile
        "n06359193",  # web site
        "n07565083",  # menu
        "n07802026",  # hay
    ),
}

# The names are of the categories in words people use. A class under none of them, or under "", is a
# category of its own: lion, flute, hammer.
BASIC = {
    "dog": ("n02084071",),
    "wolf": ("n02114100",),
    "wild dog": ("n02115335",),
    "fox": ("n02118333",),
    "cat": ("n02121808",),
    "bear": ("n02131653",),
    "weasel": (
        "n02441942",
        "n02442845",  # mink
        "n02443114",  # polecat
        "n02443484",  # black-footed ferret
    ),
    "rabbit": ("n02323902",),
    "squirrel": ("n02355227",),
    "horse": ("n02374451",),
    "pig": ("n02395003",),
    "sheep": (
        "n02411705",
        "n02415435",  # mountain sheep
    ),
    "goat": ("n02416519",),
    "antelope": ("n02419796",),
    "camel": ("n02437136",),
    "ape": ("n02470325",),
    "monkey": ("n02484322",),
    "lemur": ("n02496913",),
    "elephant": (
        "n02503517",
        "n01871265",  # tusker
    ),
    "whale": ("n02062744",),
    "kangaroo": ("n01877134",),
    "bird": ("n01503061",),
    "shark": ("n01482330",),
    "ray": ("n01495701",),
    "fish": ("n02512053",),
    "salamander": ("n01629276",),
    "frog": ("n01639765",),
    "turtle": ("n01662784",),
    "lizard": ("n01674464",),
    "crocodile": ("n01696633",),
    "snake": ("n01726692",),
    "spider": ("n01772222",),
    "beetle": ("n02164464",),
    "butterfly": ("n02274259",),
    "dragonfly": ("n02268148",),
    "crab": (
        "n01976957",
        "n01986214",  # hermit crab
    ),
    "lobster": ("n01982650",),
    "worm": ("n01922303",),
    "hat": ("n03497657",),
    "cap": ("n02954340",),
    "helmet": (
        "n03513137",
        "n03929855",  # pickelhaube
    ),
    "shoe": (
        "n04199027",
        "n03047690",  # clog
    ),
    "boot": ("n02872752",),
    "swimsuit": (
        "n04371563",
        "n03710637",  # maillot, for WordNet tights
    ),
    "tie": ("n03815615",),
    "skirt": ("n04230808",),
    "coat": ("n03057021",),
    "sweater": ("n04370048",),
    "shirt": ("n04197391",),
    "trousers": ("n04489008",),
    "robe": (
        "n04097866",
        "n03450516",  # gown
    ),
    "dress": ("n03236735",),
    "scarf": ("n04143897",),
    "cloak": ("n03045337", "n03045698"),
    "glove": ("n03441112",),
    "mask": ("n03725035", "n03724870"),
    "bread": ("n07679356",),
    "sandwich": ("n07695965",),
    "squash": ("n07715561",),
    "pepper": ("n07720442",),
    "apple": ("n07739125",),
    "ice cream": ("n07611358",),
    "soup": ("n07583197",),
    "stew": ("n07588947",),
    "corn": (
        "n12144580",
        "n13133613",  # ear of corn
    ),
    "coffee": (
        "n07929519",
        "n07930864",  # cup, for WordNet punch
    ),
    "chair": ("n03001627",),
    "table": (
        "n04379243",
        "n03201208",  # dining table
    ),
    "desk": ("n03179701",),
    "sofa": ("n04256520",),
    "bed": ("n02818832",),
    "crib": ("n02766320",),
    "cabinet": (
        "n02933112",
        "n03337140",  # file cabinet
    ),
    "bench": ("n02828884",),
    "lamp": (
        "n03636649",
        "n03637318",  # lampshade
    ),
    "guitar": ("n03467517",),
    "piano": ("n03928116",),
    "drum": (
        "n03249569",
        "n04311174",  # steel drum
    ),
    "trumpet": ("n03110669",),
    "ball": ("n02778669",),
    "weight": ("n04571292",),
    "car": ("n02958343",),
    "van": (
        "n03977966",  # police van
        "n03770679",  # minivan
    ),
    "truck": ("n04490091",),
    "bus": ("n02924116",),
    "train": (
        "n04468005",
        "n03684823",  # locomotive
        "n02959942",  # railway car
    ),
    "bicycle": ("n02834778",),
    "motorcycle": (
        "n03790512",
        "n03791053",  # motor scooter
    ),
    "boat": (
        "n02858304",
        "n04128837",  # sailing vessel
    ),
    "ship": ("n04194289",),
    "submarine": ("n04347754",),
    "airplane": (
        "n02691156",
        "n04552348",  # warplane
    ),
    "sled": ("n04235291",),
    "cart": ("n02970849",),
    "flower": ("n11669921",),
    "mushroom": ("n12992868", "n07734744"),
    "bridge": ("n02898711",),
    "fence": ("n03327234",),
    "shop": (
        "n04202417",
        "n03461385",  # grocery store
    ),
    "roof": ("n04105068",),
    "knife": ("n03623556",),
    "pot": (
        "n02939185",  # cauldron
        "n03133878",  # Crock Pot
        "n03259280",  # Dutch oven
    ),
    "pan": ("n03880531",),
    "bowl": ("n02880940",),
    "glass": ("n03438257",),
    "bottle": ("n02876657",),
    "jug": (
        "n03603722",
        "n03950228",  # pitcher
    ),
    "bag": ("n02773037",),
    "box": (
        "n02971356",  # carton
        "n03127925",  # crate
    ),
    "basket": ("n02801938",),
    "barrel": (
        "n02795169",
        "n04049303",  # rain barrel
    ),
    "tub": (
        "n02808440",  # bathtub
        "n04493381",
    ),
    "telephone": ("n04401088",),
    "computer": ("n03082979",),
    "keyboard": (
        "n03614007",
        "n04264628",  # space bar
    ),
    "camera": ("n02942699",),
    "monitor": (
        "n03782006",
        "n04152593",  # screen
    ),
    "tape player": (
        "n04392985",
        "n02979186",  # cassette player
    ),
    "clock": ("n03046257",),
    "rifle": (
        "n04090263",
        "n02749479",  # assault rifle
    ),
    "pistol": ("n03948459",),
    "missile": ("n04008634", "n03773504"),
    "armour": (
        "n02862048",
        "n02895154",  # breastplate
    ),
    "pen": ("n03906997",),
    "lock": ("n03682487",),
    "towel": ("n04459362",),
    "curtain": ("n03151077",),
    "sunglasses": (
        "n04356056",
        "n04355933",  # sunglass
    ),
    "flowerpot": ("n03991062",),
    "": (
        "n03424325",  # gas mask
        "n04023962",  # punching bag
        "n04235860",  # sleeping bag
        "n04238763",  # slide rule
        "n06359193",  # web site
        "n07871810",  # meat loaf
    ),
}
