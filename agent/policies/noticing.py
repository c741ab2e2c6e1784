"""The extractive policy's sentences about days that its history, or the calendar, does not have."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from index.text.languages import ENGLISH
from index.values import Notice

_SAID: Mapping[str, tuple[str, str]] = {
    "ar": ("لا يوجد في سجلك شيء بتاريخ {days}.", "لا يوجد يوم كهذا: {said}."),
    "da": ("Der er intet i din historik fra {days}.", "Den dag findes ikke: {said}."),
    "de": ("In deinem Verlauf ist nichts vom {days}.", "Diesen Tag gibt es nicht: {said}."),
    "el": ("Στο ιστορικό σου δεν υπάρχει τίποτα με ημερομηνία {days}.", "Δεν υπάρχει τέτοια μέρα: {said}."),
    "en": ("Nothing in your history is dated {days}.", "There is no such day: {said}."),
    "es": ("En tu historial no hay nada con fecha {days}.", "No existe ese día: {said}."),
    "fr": ("Rien dans ton historique n'est daté du {days}.", "Ce jour n'existe pas : {said}."),
    "he": ("אין בהיסטוריה שלך דבר מתאריך {days}.", "אין יום כזה: {said}."),
    "hi": ("आपके इतिहास में {days} का कुछ भी नहीं है।", "ऐसा कोई दिन नहीं है: {said}."),
    "it": ("Nella tua cronologia non c'è nulla con data {days}.", "Quel giorno non esiste: {said}."),
    "ja": ("あなたの履歴には{days}の記録がありません。", "そのような日はありません：{said}。"),
    "ko": ("기록에 {days} 날짜의 내용이 없습니다.", "그런 날은 없습니다: {said}."),
    "nl": ("In je geschiedenis staat niets van {days}.", "Die dag bestaat niet: {said}."),
    "pl": ("W twojej historii nie ma nic z datą {days}.", "Nie ma takiego dnia: {said}."),
    "pt": ("No seu histórico não há nada com data de {days}.", "Esse dia não existe: {said}."),
    "ru": ("В твоей истории нет ничего с датой {days}.", "Такого дня не существует: {said}."),
    "th": ("ในประวัติของคุณไม่มีอะไรลงวันที่ {days}", "ไม่มีวันดังกล่าว: {said}"),
    "tr": ("Geçmişinde {days} tarihli bir şey yok.", "Böyle bir gün yok: {said}."),
    "vi": ("Lịch sử của bạn không có gì đề ngày {days}.", "Không có ngày như vậy: {said}."),
    "zh": ("你的记录里没有{days}的内容。", "没有这样的日子：{said}。"),
}


def said_of(notices: Sequence[Notice], language: str) -> list[str]:
    """Return a sentence for each notice, in English for a language (ISO 639-1) that has none."""
    empty, impossible = _SAID.get(language, _SAID[ENGLISH])
    return [
        impossible.format(said=f"“{notice.said}”")
        if notice.kind == "impossible"
        else empty.format(days=_span(notice.after, notice.before))
        for notice in notices
    ]


def _span(first: date | None, end: date | None) -> str:
    """The days as any language writes them: one, or the first and the last with a dash."""
    last = end - timedelta(1) if end else None
    return str(first) if first == last else f"{first or ''} – {last or ''}".strip()
