"""Decimal money: which currencies exist and how many decimals each has."""

from decimal import Decimal
from types import MappingProxyType

DEFAULT_CURRENCY = "USD"

_UNUSUAL_DECIMALS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_TWO_DECIMALS = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF
CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL
HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU
MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR
SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED
VES WST XAD XCD XCG YER ZAR ZMW ZWG
"""

CURRENCY_DECIMALS = MappingProxyType(
    dict.fromkeys(_TWO_DECIMALS.split(), 2)
    | {code: decimals for decimals, codes in _UNUSUAL_DECIMALS.items() for code in codes.split()}
)
"""Decimals of each active currency's minor unit, by code. Source: ISO 4217, list one.

A code may be added but never removed or changed: running orders were placed in it.
"""


def quantize(amount: Decimal, currency: str) -> Decimal:
    """The amount with exactly the currency's decimals (`25.5` USD is `25.50`).

    The amount must already fit them: `has_currency_decimals` says so.
    """
    return amount.quantize(Decimal(1).scaleb(-CURRENCY_DECIMALS[currency]))


def has_currency_decimals(amount: Decimal, currency: str) -> bool:
    """Whether a finite amount can be paid in the currency (`1.001` USD cannot)."""
    # Digit by digit, because Decimal arithmetic would round what has more than 28 of them.
    _, digits, exponent = amount.as_tuple()
    trailing_zeros = len(digits) - len(bytes(digits).rstrip(b"\0"))
    return int(exponent) + trailing_zeros >= -CURRENCY_DECIMALS[currency]
