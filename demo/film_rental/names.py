"""Invented people, places and films."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

LANGUAGES = ("English", "Italiano", "日本語", "Deutsch", "Français", "Español")
CATEGORIES = (
    "Action", "Animation", "Children", "Classics", "Comedy", "Documentary", "Drama", "Family", "Foreign",
    "Games", "Horror", "Music", "New", "Sci-Fi", "Sports", "Travel",
)  # fmt: skip
COUNTRIES = (
    "Argentina", "Australia", "Austria", "Belgium", "Bolivia", "Brazil", "Bulgaria", "Canada", "Chile",
    "Colombia", "Croatia", "Côte d'Ivoire", "Denmark", "Ecuador", "Egypt", "Estonia", "Ethiopia", "Finland",
    "France", "Germany", "Ghana", "Greece", "Hungary", "Iceland", "India", "Indonesia", "Ireland", "Italy",
    "Japan", "Kenya", "Latvia", "Lithuania", "Malaysia", "Mexico", "Morocco", "Nepal", "Netherlands",
    "New Zealand", "Nigeria", "Norway", "Peru", "Philippines", "Poland", "Portugal", "Romania", "Senegal",
    "Serbia", "Slovakia", "Slovenia", "South Africa", "Spain", "Sweden", "Switzerland", "Tanzania",
    "Thailand", "Tunisia", "Türkiye", "Uruguay", "Vietnam", "Zambia",
)  # fmt: skip
FIRST_NAMES = (
    "Ada", "Aino", "Alma", "Amara", "Anton", "Aoife", "Bela", "Bruno", "Carla", "Cem", "Chloé", "Dario",
    "Edda", "Eino", "Elif", "Emre", "Esra", "Fadi", "Fiona", "Franz", "Gita", "Hana", "Hugo", "Ida", "Ines",
    "Ivo", "Jana", "José", "Juno", "Kaja", "Kenji", "Lars", "Leila", "Łucja", "Mads", "Maren", "Mila", "Nia",
    "Noor", "Olga", "Omar", "Otto", "Paula", "Pia", "Quinn", "Rafa", "Rosa", "Saga", "Sami", "Tara", "Timo",
    "Uma", "Vera", "Wim", "Xenia", "Yara", "Yuki", "Zoë",
)  # fmt: skip
LAST_NAMES = (
    "Abara", "Almgren", "Árnadóttir", "Barros", "Beck", "Bellini", "Brandt", "Castell", "Chaudry", "D'Amico",
    "Dahl", "Dvořák", "Eklund", "Estrada", "Faber", "Fontaine", "Galanis", "Gruber", "Haddad", "Hartmann",
    "Ibsen", "Ito", "Jansen", "Jovanić", "Kaya", "Keller", "Kowal", "Laine", "Lindqvist", "Lund", "Mäkinen",
    "Marchetti", "Moreau", "Müller", "Nakano", "Novak", "O'Hara", "Okoro", "Olsen", "Pereira", "Petrov",
    "Quiroga", "Rahman", "Reyes", "Rossi", "Sato", "Silva", "Sørensen", "Strand", "Szabó", "Tanaka",
    "Tavares", "Uribe", "van Dijk", "Varga", "Weiss", "Winter", "Yilmaz", "Zeman", "Ziegler",
)  # fmt: skip
ADJECTIVES = (
    "Amber", "Ancient", "Borrowed", "Broken", "Crimson", "Distant", "Electric", "Endless", "Forgotten",
    "Frozen", "Gentle", "Golden", "Hidden", "Hollow", "Invisible", "Last", "Lonely", "Lucky", "Midnight",
    "Paper", "Patient", "Quiet", "Restless", "Sleeping", "Stolen", "Sudden", "Tender", "Velvet", "Wandering",
    "Wild",
)  # fmt: skip
NOUNS = (
    "Anchor", "Attic", "Bridge", "Carousel", "Comet", "Compass", "Dragonfly", "Echo", "Empire", "Ferry",
    "Garden", "Harbor", "Harvest", "Island", "Kingdom", "Lantern", "Library", "Lighthouse", "Machine",
    "Meadow", "Mirror", "Orchard", "Parade", "Promise", "Railway", "River", "Sailor", "Season", "Secret",
    "Shadow", "Signal", "Symphony", "Theatre", "Tide", "Violin", "Winter",
)  # fmt: skip
ROLES = (
    "a baker", "a cartographer", "a diver", "a gardener", "a judge", "a pilot", "a retired spy",
    "a teacher", "two sisters",
)  # fmt: skip
DEEDS = (
    "must find", "tries to save", "falls in love with", "refuses to believe", "sets out to outwit",
    "cannot forget",
)  # fmt: skip
PLACES = (
    "in a flooded city", "on a night train", "behind the dunes", "in the year of the comet",
    "at the edge of the map",
)  # fmt: skip
SYLLABLES = (
    "al", "ber", "cor", "da", "el", "fjor", "gra", "hol", "is", "ka", "lu", "mar", "nor", "os", "pe", "ros",
    "sta", "ti", "ver",
)  # fmt: skip
ENDINGS = (
    "burg", "dal", "field", "ham", "holm", "mouth", "nova", "port", "stad", "ton", "vik", "ville",
)  # fmt: skip
STREETS = ("Street", "Lane", "Way", "Square", "Avenue")
FEATURES = ("Trailers", "Commentaries", "Deleted Scenes", "Behind the Scenes")


def person(random: Random) -> tuple[str, str]:
    """Return a first and a last name."""
    return random.choice(FIRST_NAMES), random.choice(LAST_NAMES)


def email(first: str, last: str, number: int) -> str:
    """Return the address of a person; the number keeps it theirs alone."""
    name = f"{first}.{last}".lower().replace(" ", "").replace("'", "")
    return f"{name}.{number}@example.org"


def place(random: Random) -> str:
    """Return the name of a town or a district."""
    return "".join(random.choices(SYLLABLES, k=2)).title() + random.choice(ENDINGS)


def street(random: Random) -> str:
    """Return a street and a number."""
    return f"{random.randint(1, 999)} {place(random)} {random.choice(STREETS)}"


def title(random: Random) -> str:
    """Return the title of a film."""
    return f"{random.choice(('', 'The '))}{random.choice(ADJECTIVES)} {random.choice(NOUNS)}"


def plot(random: Random) -> str:
    """Return what a film is about."""
    hero, other = random.sample(ROLES, 2)
    return f"{hero.capitalize()} {random.choice(DEEDS)} {other} {random.choice(PLACES)}."
