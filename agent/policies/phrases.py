"""The extractive policy's own words, in the language of the question: everything else it says is quoted."""

from collections.abc import Mapping
from dataclasses import dataclass

from index.text.languages import ENGLISH


@dataclass(frozen=True)
class Phrases:
    """Sentences around quotes. Braces name values that are filled in."""

    says: str
    nearest: str
    """Opens an answer whose quotes have no word of the question."""
    silent: str
    """The whole answer if nothing was found."""
    unread: str
    """The whole answer of methods that do not read the history."""
    about: str
    """Opens the quotes about a {name}."""
    replaced: str
    """Opens older quotes that a newer one, quoted before them, contradicts."""
    plan: str
    lead: str
    """Says that a {name} in the passage of a {number} is followed."""
    reading_on: str
    unsearched: str
    conclusion: str
    """Names the {count} of documents."""
    conclusion_of_one: str | None = None
    """The conclusion for one document, where its grammar differs."""


_PHRASES: Mapping[str, Phrases] = {
    "ar": Phrases(
        "يقول سجلك:",
        "لا يذكر سجلك ذلك صراحة. الأقرب:",
        "لا يذكر سجلك ذلك.",
        "لم يُبحث في سجلك.",
        "عن {name}:",
        "حلّ هذا محل ملاحظة أقدم:",
        "ما يقوله السجل عن: {topic}.",
        "ورد {name} في [{number}]. أبحث عما يوجد غير ذلك عنه.",
        "لا يوجد اسم جديد أتتبعه. أواصل القراءة للسؤال نفسه.",
        "لم يُجرَ أي بحث، فلا يوجد ما يُقتبس.",
        "عدد المستندات المقروءة: {count}. الجواب من الجمل الأكثر صلة بالسؤال.",
    ),
    "da": Phrases(
        "Din historik siger:",
        "Din historik siger det ikke direkte. Det nærmeste:",
        "Det fremgår ikke af din historik.",
        "Din historik blev ikke gennemsøgt.",
        "Om {name}:",
        "Dette erstattede en ældre note:",
        "Hvad historikken siger om: {topic}.",
        "{name} blev nævnt i [{number}]. Ser efter, hvad der ellers er om det.",
        "Intet nyt navn at følge. Læser videre om selve spørgsmålet.",
        "Der blev ikke søgt, så der er intet at citere.",
        "Læste dokumenter: {count}. Svaret er de sætninger, der siger mest om spørgsmålet.",
    ),
    "de": Phrases(
        "Dein Verlauf sagt:",
        "Dein Verlauf sagt es nicht direkt. Am nächsten kommt:",
        "Dein Verlauf sagt dazu nichts.",
        "Dein Verlauf wurde nicht durchsucht.",
        "Über {name}:",
        "Das ersetzte eine ältere Notiz:",
        "Was der Verlauf dazu sagt: {topic}.",
        "{name} kam in [{number}] vor. Ich suche, was es noch darüber gibt.",
        "Kein neuer Name, dem ich folgen kann. Ich lese zur Frage selbst weiter.",
        "Es wurde nicht gesucht, also gibt es nichts zu zitieren.",
        "Gelesene Dokumente: {count}. Die Antwort besteht aus den Sätzen, die am meisten zur Frage sagen.",
    ),
    "el": Phrases(
        "Το ιστορικό σου λέει:",
        "Το ιστορικό σου δεν το λέει άμεσα. Το πλησιέστερο:",
        "Το ιστορικό σου δεν το αναφέρει.",
        "Δεν έγινε αναζήτηση στο ιστορικό σου.",
        "Για {name}:",
        "Αυτό αντικατέστησε μια παλαιότερη σημείωση:",
        "Τι λέει το ιστορικό για: {topic}.",
        "Το όνομα {name} εμφανίστηκε στο [{number}]. Αναζητώ τι άλλο υπάρχει γι' αυτό.",
        "Δεν υπάρχει νέο όνομα. Συνεχίζω την ανάγνωση για την ίδια την ερώτηση.",
        "Δεν έγινε αναζήτηση, άρα δεν υπάρχει τίποτα να παρατεθεί.",
        "Έγγραφα που διαβάστηκαν: {count}. Η απάντηση είναι οι προτάσεις που λένε τα περισσότερα.",
    ),
    "en": Phrases(
        "Your history says:",
        "Your history does not say it directly. The nearest:",
        "Your history does not tell.",
        "Your history was not searched.",
        "About {name}:",
        "This replaced an older note:",
        "What the history says about: {topic}.",
        "{name} came up in [{number}]. Looking for what else there is about that.",
        "No new name to follow. Reading on for the question itself.",
        "No search was made, so there is nothing to quote.",
        "Read {count} documents. Answering with the sentences that say most about the question.",
        "Read 1 document. Answering with the sentences that say most about the question.",
    ),
    "es": Phrases(
        "Tu historial dice:",
        "Tu historial no lo dice directamente. Lo más cercano:",
        "Tu historial no lo dice.",
        "No se buscó en tu historial.",
        "Sobre {name}:",
        "Esto sustituyó una nota anterior:",
        "Lo que dice el historial sobre: {topic}.",
        "{name} aparece en [{number}]. Busco qué más hay sobre eso.",
        "No hay un nombre nuevo que seguir. Sigo leyendo sobre la pregunta misma.",
        "No se hizo ninguna búsqueda, así que no hay nada que citar.",
        "Documentos leídos: {count}. La respuesta son las frases que más dicen sobre la pregunta.",
    ),
    "fr": Phrases(
        "Votre historique dit :",
        "Votre historique ne le dit pas directement. Le plus proche :",
        "Votre historique ne le dit pas.",
        "Votre historique n'a pas été consulté.",
        "À propos de {name} :",
        "Ceci a remplacé une note plus ancienne :",
        "Ce que dit l'historique sur : {topic}.",
        "{name} apparaît dans [{number}]. Je cherche ce qu'il y a d'autre à ce sujet.",
        "Aucun nouveau nom à suivre. Je continue à lire pour la question elle-même.",
        "Aucune recherche n'a été faite : il n'y a rien à citer.",
        "Documents lus : {count}. La réponse reprend les phrases qui en disent le plus sur la question.",
    ),
    "he": Phrases(
        "ההיסטוריה שלך אומרת:",
        "ההיסטוריה שלך לא אומרת זאת במפורש. הקרוב ביותר:",
        "ההיסטוריה שלך לא אומרת זאת.",
        "לא נערך חיפוש בהיסטוריה שלך.",
        "על {name}:",
        "זה החליף רשומה ישנה יותר:",
        "מה שההיסטוריה אומרת על: {topic}.",
        "{name} הופיע ב-[{number}]. מחפש מה עוד יש על כך.",
        "אין שם חדש לעקוב אחריו. ממשיך לקרוא לגבי השאלה עצמה.",
        "לא נערך חיפוש, ולכן אין מה לצטט.",
        "מסמכים שנקראו: {count}. התשובה היא המשפטים שאומרים הכי הרבה על השאלה.",
    ),
    "hi": Phrases(
        "आपके इतिहास में लिखा है:",
        "आपके इतिहास में यह सीधे नहीं लिखा है। सबसे नज़दीकी:",
        "आपके इतिहास में यह नहीं मिलता।",
        "आपके इतिहास में खोज नहीं की गई।",
        "{name} के बारे में:",
        "इसने एक पुरानी टिप्पणी की जगह ली:",
        "इतिहास इस बारे में क्या कहता है: {topic}",
        "[{number}] में {name} का नाम आया। देखते हैं कि इस बारे में और क्या है।",
        "कोई नया नाम नहीं मिला। प्रश्न के लिए ही आगे पढ़ते हैं।",
        "कोई खोज नहीं हुई, इसलिए उद्धृत करने को कुछ नहीं है।",
        "पढ़े गए दस्तावेज़: {count}। उत्तर में वे वाक्य हैं जो प्रश्न के बारे में सबसे अधिक बताते हैं।",
    ),
    "it": Phrases(
        "La tua cronologia dice:",
        "La tua cronologia non lo dice direttamente. La cosa più vicina:",
        "La tua cronologia non lo dice.",
        "La tua cronologia non è stata consultata.",
        "Su {name}:",
        "Questo ha sostituito una nota precedente:",
        "Che cosa dice la cronologia su: {topic}.",
        "{name} compare in [{number}]. Cerco che cos'altro c'è al riguardo.",
        "Nessun nuovo nome da seguire. Continuo a leggere per la domanda stessa.",
        "Non è stata fatta alcuna ricerca, quindi non c'è nulla da citare.",
        "Documenti letti: {count}. La risposta riporta le frasi che dicono di più sulla domanda.",
    ),
    "ja": Phrases(
        "あなたの履歴にはこうあります：",
        "あなたの履歴に直接の記述はありません。最も近いもの：",
        "あなたの履歴には書かれていません。",
        "あなたの履歴は検索されていません。",
        "{name}について：",
        "これが置き換えた以前のメモ：",
        "履歴から調べること：{topic}",
        "[{number}]に{name}が出てきました。ほかに何があるか調べます。",
        "新しい名前はありません。質問そのものについて読み進めます。",
        "検索しなかったため、引用できるものがありません。",
        "読んだ文書：{count}件。質問に最も関係する文で答えます。",
    ),
    "ko": Phrases(
        "기록에 따르면:",
        "기록에 직접 나오지는 않습니다. 가장 가까운 내용:",
        "기록에 나오지 않습니다.",
        "기록을 검색하지 않았습니다.",
        "{name}에 대해:",
        "이것이 대체한 이전 메모:",
        "기록에서 찾을 내용: {topic}",
        "[{number}]에 {name}이(가) 나왔습니다. 이에 대해 더 찾아봅니다.",
        "따라갈 새 이름이 없습니다. 질문 자체에 대해 계속 읽습니다.",
        "검색하지 않았으므로 인용할 것이 없습니다.",
        "읽은 문서: {count}개. 질문과 가장 관련 있는 문장으로 답합니다.",
    ),
    "nl": Phrases(
        "Je geschiedenis zegt:",
        "Je geschiedenis zegt het niet rechtstreeks. Het dichtst in de buurt:",
        "Je geschiedenis zegt het niet.",
        "Je geschiedenis is niet doorzocht.",
        "Over {name}:",
        "Dit verving een oudere notitie:",
        "Wat de geschiedenis zegt over: {topic}.",
        "{name} kwam voor in [{number}]. Ik zoek wat er nog meer over is.",
        "Geen nieuwe naam om te volgen. Ik lees verder voor de vraag zelf.",
        "Er is niet gezocht, dus er valt niets te citeren.",
        "Gelezen documenten: {count}. Het antwoord bestaat uit de zinnen die het meest over de vraag zeggen.",
    ),
    "pl": Phrases(
        "Twoja historia mówi:",
        "Twoja historia nie mówi tego wprost. Najbliższe:",
        "Twoja historia o tym nie mówi.",
        "Twoja historia nie została przeszukana.",
        "{name}:",
        "To zastąpiło starszą notatkę:",
        "Co historia mówi na temat: {topic}.",
        "{name} występuje w [{number}]. Szukam, co jeszcze jest na ten temat.",
        "Nie ma nowej nazwy. Czytam dalej w sprawie samego pytania.",
        "Nie było wyszukiwania, więc nie ma czego cytować.",
        "Przeczytane dokumenty: {count}. Odpowiedź to zdania, które najwięcej mówią o pytaniu.",
    ),
    "pt": Phrases(
        "Seu histórico diz:",
        "Seu histórico não diz isso diretamente. O mais próximo:",
        "Seu histórico não diz isso.",
        "Seu histórico não foi pesquisado.",
        "Sobre {name}:",
        "Isto substituiu uma nota anterior:",
        "O que o histórico diz sobre: {topic}.",
        "{name} aparece em [{number}]. Procuro o que mais há sobre isso.",
        "Nenhum nome novo a seguir. Continuo lendo sobre a própria pergunta.",
        "Nenhuma pesquisa foi feita, então não há nada a citar.",
        "Documentos lidos: {count}. A resposta são as frases que mais dizem sobre a pergunta.",
    ),
    "ru": Phrases(
        "В вашей истории сказано:",
        "Прямо об этом в вашей истории не сказано. Ближайшее:",
        "В вашей истории об этом не сказано.",
        "Поиск по вашей истории не проводился.",
        "{name}:",
        "Это заменило более старую запись:",
        "Что история говорит по теме: {topic}.",
        "{name} упоминается в [{number}]. Ищу, что ещё об этом есть.",
        "Новых имён нет. Читаю дальше по самому вопросу.",
        "Поиск не проводился, поэтому цитировать нечего.",
        "Прочитано документов: {count}. В ответе предложения, которые больше всего говорят о вопросе.",
    ),
    "th": Phrases(
        "ประวัติของคุณบอกว่า:",
        "ประวัติของคุณไม่ได้บอกไว้โดยตรง ใกล้เคียงที่สุด:",
        "ประวัติของคุณไม่ได้บอกไว้",
        "ไม่ได้ค้นหาในประวัติของคุณ",
        "เกี่ยวกับ {name}:",
        "ข้อความนี้แทนที่บันทึกเก่า:",
        "สิ่งที่ประวัติบอกเกี่ยวกับ: {topic}",
        "พบ {name} ใน [{number}] กำลังค้นหาสิ่งอื่นที่เกี่ยวข้อง",
        "ไม่มีชื่อใหม่ให้ติดตาม จะอ่านต่อสำหรับคำถามนี้",
        "ไม่มีการค้นหา จึงไม่มีอะไรให้อ้างอิง",
        "อ่านเอกสารแล้ว: {count} ตอบด้วยประโยคที่เกี่ยวข้องกับคำถามมากที่สุด",
    ),
    "tr": Phrases(
        "Geçmişinizde şöyle yazıyor:",
        "Geçmişinizde doğrudan yazmıyor. En yakını:",
        "Geçmişinizde bu yazmıyor.",
        "Geçmişinizde arama yapılmadı.",
        "{name} hakkında:",
        "Bu, daha eski bir notun yerini aldı:",
        "Geçmişin bu konuda söyledikleri: {topic}.",
        "[{number}] içinde {name} geçiyor. Bununla ilgili başka ne olduğuna bakılıyor.",
        "İzlenecek yeni bir ad yok. Sorunun kendisi için okumaya devam ediliyor.",
        "Arama yapılmadı, bu yüzden alıntılanacak bir şey yok.",
        "Okunan belge sayısı: {count}. Yanıt, soruyla en ilgili cümlelerden oluşuyor.",
    ),
    "vi": Phrases(
        "Lịch sử của bạn cho biết:",
        "Lịch sử của bạn không nói trực tiếp. Gần nhất:",
        "Lịch sử của bạn không nói điều đó.",
        "Lịch sử của bạn chưa được tìm kiếm.",
        "Về {name}:",
        "Điều này thay thế một ghi chú cũ hơn:",
        "Lịch sử nói gì về: {topic}.",
        "{name} xuất hiện trong [{number}]. Tìm xem còn gì khác về điều đó.",
        "Không có tên mới để theo. Đọc tiếp cho chính câu hỏi.",
        "Chưa tìm kiếm nên không có gì để trích dẫn.",
        "Số tài liệu đã đọc: {count}. Trả lời bằng những câu nói nhiều nhất về câu hỏi.",
    ),
    "zh": Phrases(
        "你的记录里写道：",
        "你的记录没有直接提到。最接近的是：",
        "你的记录里没有提到。",
        "没有搜索你的记录。",
        "关于{name}：",
        "这取代了较早的记录：",
        "从记录中查找：{topic}",
        "[{number}]中提到了{name}。再看看还有什么相关内容。",
        "没有新的名字可以追查。继续阅读与问题本身有关的内容。",
        "没有进行搜索，因此没有可引用的内容。",
        "已读文档：{count}。用与问题最相关的句子回答。",
    ),
}


def phrases(language: str) -> Phrases:
    """Return the phrases of a language (ISO 639-1); the English ones for a language without any."""
    return _PHRASES.get(language, _PHRASES[ENGLISH])
