"""Says how likely two records are the same company, and by which evidence.

A comparison gives a match weight: log2 of how much likelier what was found is for one company than for two.
The weights and the prior add up to the match probability. What many records share weighs little, since it
would be found between strangers too; a word of a name weighs by its rarity.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import polars as pl
from rapidfuzz.distance import OSA
from rapidfuzz.process import cpdist

# Dropped at the end of a name, for comparison only.
LEGAL_FORMS: Final = (
    "ltd|limited|llc|inc|incorporated|corp|corporation|co|company|plc|llp|lp|pllc|pc|pty|proprietary|pte|pvt|private|"
    "gmbh|mbh|ag|kg|ohg|ug|ev|se|sa|sas|sarl|eurl|srl|spa|snc|sl|slu|bv|nv|vof|cv|oy|oyj|ab|as|asa|aps|a s|"
    "sro|doo|dd|kft|zrt|sp z o o|sp zoo|bhd|sdn|kk|nl|cic|cio"
)
# Words that say what a company does or how it is built: common in any book, also in one too small to show it.
COMMON: Final = """
group holdings holding services service solutions solution systems trading international global consulting
consultants partners partnership associates management industries enterprises enterprise technologies
technology tech digital media design studio studios build builders building construction plumbing
electrical property properties estates engineering logistics transport foods food cafe restaurant bar
hotel motors auto cleaning security capital finance financial investments ventures retail store stores
shop supplies supply products manufacturing marketing communications events energy water health medical
dental care clinic law legal accounting tax recruitment training education school college university
council church club trust foundation association north south east west central city national uk usa us nz
europe london and the of for brothers sons son smith jones brown green red blue new first
"""
COMMON_WORDS: Final = frozenset(COMMON.split())
# How people shorten the words above, and a few more.
SHORT_FORMS: Final = {
    "accts": "accountants",
    "assoc": "associates",
    "assocs": "associates",
    "bros": "brothers",
    "bldrs": "builders",
    "comms": "communications",
    "const": "construction",
    "corp": "corporation",
    "ctr": "centre",
    "center": "centre",
    "dept": "department",
    "dist": "distribution",
    "elec": "electrical",
    "eng": "engineering",
    "engg": "engineering",
    "ent": "enterprises",
    "ents": "enterprises",
    "grp": "group",
    "hldgs": "holdings",
    "ind": "industries",
    "inds": "industries",
    "intl": "international",
    "int": "international",
    "inv": "investments",
    "labs": "laboratories",
    "mfg": "manufacturing",
    "mgmt": "management",
    "mgt": "management",
    "mkt": "market",
    "mktg": "marketing",
    "natl": "national",
    "prod": "products",
    "prods": "products",
    "prop": "property",
    "props": "properties",
    "ptnrs": "partners",
    "svc": "service",
    "svcs": "services",
    "sys": "systems",
    "tech": "technology",
    "univ": "university",
}
FREE: Final = """
gmail.com googlemail.com outlook.com hotmail.com hotmail.co.uk live.com msn.com yahoo.com yahoo.co.uk
ymail.com icloud.com me.com mac.com aol.com gmx.de gmx.net web.de t-online.de proton.me protonmail.com
btinternet.com sky.com talktalk.net virginmedia.com ntlworld.com bigpond.com bigpond.net.au
optusnet.com.au xtra.co.nz orange.fr wanadoo.fr free.fr laposte.net libero.it mail.com fastmail.com
zoho.com qq.com 163.com comcast.net verizon.net att.net sbcglobal.net shaw.ca rogers.com eircom.net
"""
FREE_MAIL: Final = frozenset(FREE.split())

# comparison -> the most bits that agreement can give, and the bits of both sides having one and none agreeing
EQUALITIES: Final[dict[str, tuple[float, float]]] = {
    "tax_number": (20.0, -8.0),
    "company_number": (18.0, -6.0),
    "account_number": (12.0, -2.0),
    "email": (14.0, -0.5),
    "domain": (11.0, -1.0),
    "phone": (12.0, -2.0),
    "postal_code": (8.0, -1.5),
    "address_line": (8.0, -0.5),
}
IDENTIFIERS: Final = ("tax_number", "company_number", "account_number")
DETAILS: Final = ("email", "domain", "phone", "postal_code", "address_line")
COMPARISONS: Final = ("name", *EQUALITIES)

SMALLEST_BOOK: Final = 100  # in a smaller one frequencies say nothing
BACKGROUND: Final = 5000.0  # as if this many more names, with no word in common, had been seen
MOST_NAME_BITS: Final = 20.0
UNLIKE_BITS: Final = -8.0
MOST_DOMAIN_BITS_BESIDE_A_NAME: Final = 4.0  # a domain is made of the name: it hardly says more
SAME_NAME: Final = ("exact", "reordered", "close")  # only these may link without being asked


def fold_company(name: pl.Expr) -> pl.Expr:
    """Fold a company's name for comparison: small letters, no accents, no punctuation, no legal form."""
    plain = (
        name.str.normalize("NFKD")
        .str.replace_all(r"\p{M}", "")
        .str.to_lowercase()
        .str.replace_all("ß", "ss")
        .str.replace_all(r"['’`´]", "")
        .str.replace_all(r"\b(\p{L})\.", "$1")
        .str.replace_all("[&+]", " and ")
        .str.replace_all(r"[^\p{L}\p{N}]+", " ")
        .str.strip_chars(" ")
    )
    spoken = (
        plain.str.replace(r"^the ", "")
        .str.replace_all(r"\band\b", " ")
        .str.replace_all(" +", " ")
        .str.strip_chars(" ")
    )
    bare = spoken.str.replace(rf"(?: (?:{LEGAL_FORMS}))+$", "")
    # "Company Ltd" would vanish: then the name is all that there is.
    words = pl.coalesce(_some(bare), _some(spoken), _some(plain)).str.split(" ")
    return words.list.eval(pl.element().replace(SHORT_FORMS)).list.join(" ")


def _some(text: pl.Expr) -> pl.Expr:
    return pl.when(text != "").then(text)


def comparison_keys(values: pl.DataFrame) -> pl.DataFrame:
    """Give what records can agree on by equality: side, record_id, kind, key. Takes VALUES."""
    seen = values.filter(pl.col("observed") & pl.col("value").is_not_null())
    value, kind = pl.col("value"), pl.col("kind")
    row = ["side", "record_id"]
    domain = pl.when(kind == "email").then(value.str.extract("@(.+)$")).otherwise(_host(value))
    address = seen.filter(kind == "address").with_columns(at=value.str.json_decode(ADDRESS))
    parts = [
        seen.filter(pl.col("unit").is_in(IDENTIFIERS)).select(*row, kind="unit", key="value"),
        seen.filter(kind == "email").select(*row, kind=pl.lit("email"), key="value"),
        seen.filter(kind.is_in(["email", "website"])).select(*row, kind=pl.lit("domain"), key=domain),
        seen.filter((kind == "phone") & (pl.col("unit") != "fax")).select(
            *row, kind=pl.lit("phone"), key=_digits(value)
        ),
        address.select(
            *row, kind=pl.lit("postal_code"), key=_postal_code(pl.col("at").struct.field("postal_code"))
        ),
        address.select(*row, kind=pl.lit("address_line"), key=_line(pl.col("at").struct.field("lines"))),
    ]
    keys = pl.concat(parts, how="vertical_relaxed").filter(pl.col("key").str.len_chars() > 1)
    return keys.filter(~((pl.col("kind") == "domain") & pl.col("key").is_in(list(FREE_MAIL)))).unique()


ADDRESS: Final = pl.Struct({"lines": pl.List(pl.String), "postal_code": pl.String})


def _host(website: pl.Expr) -> pl.Expr:
    return website.str.to_lowercase().str.extract(r"^(?:https?://)?(?:www\.)?([^/?#:]+)")


def _digits(phone: pl.Expr) -> pl.Expr:
    # The last nine: a number with and without its country code is one number.
    return phone.str.replace_all(r"\D", "").str.slice(-9)


def _postal_code(code: pl.Expr) -> pl.Expr:
    return code.str.to_lowercase().str.replace_all(r"[^\p{L}\p{N}]", "")


def _line(lines: pl.Expr) -> pl.Expr:
    # The first line with a number in it, without its words for "street": "1 High St." is "1 High Street".
    whole = lines.list.join(" ").str.normalize("NFKD").str.replace_all(r"\p{M}", "").str.to_lowercase()
    words = whole.str.replace_all(r"[^\p{L}\p{N}]+", " ")
    return words.str.extract(r"(\d+[a-z]?(?: \p{L}+){1,2})").str.replace(
        r" (st|street|rd|road|ave|avenue|ln|lane|dr|drive)$", ""
    )


def score_pairs(pairs: pl.DataFrame, names: pl.DataFrame, keys: pl.DataFrame) -> pl.DataFrame:
    """Give the pairs with a column of level and of weight for each comparison, weight, probability, evidence.

    Takes salesforce_row and xero_row; names (side, row, name, tokens); keys (side, row, kind, key).
    Order kept. `evidence` is JSON of levels and weights and holds no value of a record.
    """
    sizes: list[int] = names.group_by("side").len()["len"].to_list()
    book = max([SMALLEST_BOOK, *sizes])
    scored = _compare_names(pairs, names, book).join(
        _compare_keys(pairs, keys, book), on=["salesforce_row", "xero_row"], how="left", maintain_order="left"
    )
    # As if half of the smaller book had a partner in the larger one.
    prior = pl.lit(-1.0) - pl.lit(float(book)).log(2)
    weight = prior + pl.col("name_weight") + _identifiers() + _details()
    return scored.with_columns(weight=weight).with_columns(
        probability=1.0 / (1.0 + (2.0 ** -pl.col("weight").clip(-60, 60))), evidence=evidence(COMPARISONS)
    )


def _identifiers() -> pl.Expr:
    return pl.sum_horizontal(pl.col(f"{kind}_weight").fill_null(0.0) for kind in IDENTIFIERS)


def _details() -> pl.Expr:
    """Add what is the pair's own; of what others share too, as a switchboard, the most counts alone.

    Shared details come together (same office, same switchboard): added up, they would make twins of sisters.
    """
    own = pl.sum_horizontal(
        pl.when(pl.col(f"{k}_level") != "shared").then(_bits_beside_a_name(k)).fill_null(0.0) for k in DETAILS
    )
    shared = pl.max_horizontal(pl.when(pl.col(f"{k}_level") == "shared").then(f"{k}_weight") for k in DETAILS)
    return own.clip(None, 24.0) + shared.fill_null(0.0)


def _bits_beside_a_name(kind: str) -> pl.Expr:
    bits = pl.col(f"{kind}_weight")
    if kind != "domain":
        return bits
    alike = pl.col("name_level").is_in(SAME_NAME)
    return pl.when(alike).then(bits.clip(None, MOST_DOMAIN_BITS_BESIDE_A_NAME)).otherwise(bits)


def word_weights(names: pl.DataFrame) -> pl.DataFrame:
    """Give the bits of each word: token, bits. The rarer in both books, the more."""
    words = (
        names.select("side", "row", token="tokens")
        .explode("token", empty_as_null=True, keep_nulls=False)
        .unique()
    )
    share = pl.col("len").cast(pl.Float64) / (float(names.height) + BACKGROUND)
    common = pl.col("token").is_in(list(COMMON_WORDS))
    return (
        words.group_by("token")
        .len()
        .select("token", bits=-pl.when(common).then(pl.max_horizontal(share, 0.01)).otherwise(share).log(2))
    )


def _compare_names(pairs: pl.DataFrame, names: pl.DataFrame, book: int) -> pl.DataFrame:
    known = _with_bits(names)
    sides = {
        side: known.filter(pl.col("side") == side)
        .drop("side")
        .rename(
            {
                "row": f"{side}_row",
                "name": f"{side}_name",
                "tokens": f"{side}_tokens",
                "bits": f"{side}_bits",
                "sharing": f"{side}_sharing",
            }
        )
        for side in ("salesforce", "xero")
    }
    wide = pairs
    for side, frame in sides.items():
        wide = wide.join(frame, on=f"{side}_row", how="left", validate="m:1", maintain_order="left")
    wide = wide.join(
        _shared_bits(pairs, names), on=["salesforce_row", "xero_row"], how="left", maintain_order="left"
    )
    here, there = pl.col("salesforce_name"), pl.col("xero_name")
    distance = pairwise(wide["salesforce_name"], wide["xero_name"], OSA.distance)
    length = pl.min_horizontal(here.str.len_chars(), there.str.len_chars()).cast(pl.Int64)
    figures = here.str.replace_all(r"\D", "") == there.str.replace_all(r"\D", "")
    reordered = pl.col("salesforce_tokens").list.sort().list.join(" ") == pl.col(
        "xero_tokens"
    ).list.sort().list.join(" ")
    typos = pl.when(length < 5).then(0).when(length < 10).then(1).when(length < 18).then(2).otherwise(3)
    level = (
        pl.when(here.is_null() | there.is_null())
        .then(None)
        .when(here == there)
        .then(pl.lit("exact"))
        .when(reordered)
        .then(pl.lit("reordered"))
        .when(figures & (pl.col("distance") <= typos))
        .then(pl.lit("close"))
        .when(pl.col("shared_bits") > 6.0)
        .then(pl.lit("overlap"))
        .otherwise(pl.lit("unlike"))
    )
    least = pl.min_horizontal("salesforce_bits", "xero_bits", pl.lit(MOST_NAME_BITS))
    sharing = pl.max_horizontal("salesforce_sharing", "xero_sharing") - 1
    unshared = pl.max_horizontal("salesforce_bits", "xero_bits") - pl.col("shared_bits")
    weights = {
        "exact": pl.when(sharing > 0)
        .then(pl.min_horizontal(least, (book / sharing).log(2)))
        .otherwise(least),
        "reordered": least - 1.0,
        "close": 0.8 * least - 2.0,
        "overlap": (0.8 * pl.col("shared_bits") - 0.5 * unshared - 2.0).clip(UNLIKE_BITS, 12.0),
        "unlike": pl.lit(UNLIKE_BITS),
    }
    weight = pl.coalesce(pl.when(pl.col("name_level") == name).then(bits) for name, bits in weights.items())
    return (
        wide.with_columns(distance=distance, shared_bits=pl.col("shared_bits").fill_null(0.0))
        .with_columns(name_level=level)
        .with_columns(name_weight=weight.fill_null(0.0))
        .select("salesforce_row", "xero_row", "name_level", "name_weight")
    )


def pairwise(here: pl.Series, there: pl.Series, scorer: Any) -> pl.Series:
    """Compare texts row by row with a scorer of rapidfuzz; null is read as an empty text."""
    left, right = here.fill_null("").to_list(), there.fill_null("").to_list()
    return pl.Series(cpdist(left, right, scorer=scorer))


def _with_bits(names: pl.DataFrame) -> pl.DataFrame:
    words = names.select("side", "row", token="tokens").explode("token", empty_as_null=True, keep_nulls=False)
    bits = (
        words.join(word_weights(names), on="token", how="left", validate="m:1")
        .group_by("side", "row")
        .agg(pl.col("bits").sum())
    )
    sharing = pl.len().over("side", "name").cast(pl.Int64)
    return (
        names.join(bits, on=["side", "row"], how="left", validate="1:1")
        .with_columns(sharing=sharing, bits=pl.col("bits").fill_null(0.0))
        .select("side", "row", "name", "tokens", "bits", "sharing")
    )


def _shared_bits(pairs: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    words = (
        names.select("side", "row", token="tokens")
        .explode("token", empty_as_null=True, keep_nulls=False)
        .unique()
    )
    here, there = (words.filter(pl.col("side") == side).drop("side") for side in ("salesforce", "xero"))
    common = (
        pairs.join(here, left_on="salesforce_row", right_on="row", how="inner")
        .join(there, left_on=["xero_row", "token"], right_on=["row", "token"], how="inner")
        .join(word_weights(names), on="token", how="left", validate="m:1")
    )
    return common.group_by("salesforce_row", "xero_row").agg(shared_bits=pl.col("bits").sum())


def _compare_keys(pairs: pl.DataFrame, keys: pl.DataFrame, book: int) -> pl.DataFrame:
    here, there = (keys.filter(pl.col("side") == side).drop("side") for side in ("salesforce", "xero"))
    agreed = _agreements(pairs, here, there, keys, book)
    both = pairs.join(
        here.select("row", "kind").unique(), left_on="salesforce_row", right_on="row", how="inner"
    ).join(
        there.select("row", "kind").unique(),
        left_on=["xero_row", "kind"],
        right_on=["row", "kind"],
        how="inner",
    )
    differing = pl.col("kind").replace_strict(
        {k: w[1] for k, w in EQUALITIES.items()}, return_dtype=pl.Float64
    )
    compared = both.join(agreed, on=["salesforce_row", "xero_row", "kind"], how="left").with_columns(
        level=pl.col("level").fill_null("differs"), bits=pl.coalesce("bits", differing)
    )
    columns: list[pl.Expr] = []
    for kind in EQUALITIES:
        mine = pl.col("kind") == kind
        columns += [
            pl.col("level").filter(mine).first().alias(f"{kind}_level"),
            pl.col("bits").filter(mine).first().alias(f"{kind}_weight"),
        ]
    wide = compared.group_by("salesforce_row", "xero_row").agg(columns)
    # An e-mail that agrees has said what its domain says; one that differs is told by its domain.
    same_mail = (pl.col("email_weight") > 0).fill_null(False)
    return wide.with_columns(pl.when(~same_mail).then(c).alias(c) for c in ("domain_level", "domain_weight"))


def _agreements(
    pairs: pl.DataFrame, here: pl.DataFrame, there: pl.DataFrame, keys: pl.DataFrame, book: int
) -> pl.DataFrame:
    """Give the best agreement of each pair and kind: salesforce_row, xero_row, kind, level, bits."""
    sharing = (
        keys.group_by("kind", "key", "side")
        .len()
        .group_by("kind", "key")
        .agg(sharing=pl.col("len").max().cast(pl.Int64) - 1)
    )
    most = pl.col("kind").replace_strict({k: w[0] for k, w in EQUALITIES.items()}, return_dtype=pl.Float64)
    bits = (
        pl.when(pl.col("sharing") > 0)
        .then(pl.min_horizontal(most, (book / pl.col("sharing")).log(2)))
        .otherwise(most)
    )
    common = (
        pairs.join(here, left_on="salesforce_row", right_on="row", how="inner")
        .join(there, left_on=["xero_row", "kind", "key"], right_on=["row", "kind", "key"], how="inner")
        .join(sharing, on=["kind", "key"], how="left", validate="m:1")
        .with_columns(
            bits=bits, level=pl.when(pl.col("sharing") > 0).then(pl.lit("shared")).otherwise(pl.lit("equal"))
        )
    )
    return (
        common.sort("bits", "level", descending=True)
        .group_by("salesforce_row", "xero_row", "kind", maintain_order=True)
        .agg(pl.col("level", "bits").first())
    )


def evidence(comparisons: Iterable[str]) -> pl.Expr:
    """JSON of comparison -> level and weight, of those that were made."""
    pieces = [
        pl.lit(f'"{kind}":{{"level":"')
        + pl.col(f"{kind}_level")
        + pl.lit('","weight":')
        + pl.col(f"{kind}_weight").round(2).cast(pl.String)
        + pl.lit("}")
        for kind in comparisons
    ]  # null where it was not made: then concat_str leaves it out
    return pl.lit("{") + pl.concat_str(pieces, separator=",", ignore_nulls=True) + pl.lit("}")
