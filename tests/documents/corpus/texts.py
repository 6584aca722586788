"""The text of the corpus: one small document in each of eight languages, for every format.

Each has two pages: a title, a paragraph with a number and a Latin word, a list, a paragraph with a
note, a table with an empty cell, and a second page. They were written for this project.
"""

from typing import NamedTuple


class Source(NamedTuple):
    """A document in one language.

    Attributes:
        language: Its code.
        encoding: The encoding that its files had before UTF-8.
        title: The title, a heading of level 1.
        intro: A paragraph.
        list_title: A heading of level 2.
        items: The items of a list.
        noted: A paragraph whose end refers to the note.
        note: The note.
        table_title: A heading of level 2.
        table: The rows; the first is the header, and one cell is empty.
        page_title: A heading of level 2 at the top of the second page.
        closing: A paragraph on the second page.
    """

    language: str
    encoding: str
    title: str
    intro: str
    list_title: str
    items: tuple[str, str, str]
    noted: str
    note: str
    table_title: str
    table: tuple[tuple[str, str, str], ...]
    page_title: str
    closing: str

    @property
    def right_to_left(self) -> bool:
        """Whether the language is written from right to left."""
        return self.language in ("ar", "he")


SOURCES = (
    Source(
        "de",
        "windows-1252",
        "Bewässerung im Gewächshaus",
        "Die Pumpe läuft dreißig Sekunden, wenn der Fühler ESP-32 weniger als 25,5 % misst. "
        "Größere Kübel brauchen häufiger Wasser als kleine, und überall hilft ein offenes Fenster.",
        "Vorbereitung",
        ("Erde prüfen", "Ventile öffnen", "Schläuche spülen"),
        "Farne mögen Schatten und kühle Nächte.",
        "Außer dem Königsfarn, der Sonne verträgt.",
        "Mengen",
        (("Pflanze", "Wasser", "Licht"), ("Farn", "", "Schatten"), ("Kaktus", "10 ml", "Sonne")),
        "Nach der Arbeit",
        "Am Ende wird die Pumpe ausgeschaltet. Das Öl wird jährlich gewechselt.",
    ),
    Source(
        "ru",
        "koi8-r",
        "Полив в теплице",
        "Насос работает тридцать секунд, когда датчик ESP-32 показывает меньше 25,5 %. Большим "
        "горшкам вода нужна чаще, чем маленьким, и всем полезно открытое окно.",
        "Подготовка",
        ("Проверить почву", "Открыть клапаны", "Промыть шланги"),
        "Папоротники любят тень и прохладные ночи.",
        "Кроме орляка, который выносит солнце.",
        "Количество",
        (("Растение", "Вода", "Свет"), ("Папоротник", "", "тень"), ("Кактус", "10 мл", "солнце")),
        "После работы",
        "В конце насос выключают. Масло меняют раз в год.",
    ),
    Source(
        "ar",
        "windows-1256",
        "الري في البيت الزجاجي",
        "تعمل المضخة ثلاثين ثانية عندما يقيس المستشعر ESP-32 أقل من 25.5%. تحتاج الأواني الكبيرة "
        "إلى الماء أكثر من الصغيرة، ولا بأس بنافذة مفتوحة.",
        "التحضير",
        ("فحص التربة", "فتح الصمامات", "غسل الأنابيب"),
        "تحب السراخس الظل والليالي الباردة.",
        "إلا السرخس الملكي فهو يتحمل الشمس.",
        "الكميات",
        (("النبات", "الماء", "الضوء"), ("سرخس", "", "ظل"), ("صبار", "10 مل", "شمس")),
        "بعد العمل",
        "في النهاية تُطفأ المضخة. يُغيَّر الزيت كل سنة.",
    ),
    Source(
        "he",
        "windows-1255",
        "השקיה בחממה",
        "המשאבה פועלת שלושים שניות כאשר החיישן ESP-32 מודד פחות מ-25.5%. עציצים גדולים זקוקים "
        "למים לעתים קרובות יותר מקטנים, וחלון פתוח מועיל לכולם.",
        "הכנה",
        ("לבדוק את האדמה", "לפתוח את הברזים", "לשטוף את הצינורות"),
        "שרכים אוהבים צל ולילות קרירים.",
        "מלבד שרך המלך, שעומד בשמש.",
        "כמויות",
        (("צמח", "מים", "אור"), ("שרך", "", "צל"), ("קקטוס", "10 מ״ל", "שמש")),
        "אחרי העבודה",
        "בסוף מכבים את המשאבה. את השמן מחליפים פעם בשנה.",
    ),
    Source(
        "zh",
        "gb2312",
        "温室浇水",
        "传感器ESP-32测得的湿度低于25.5%时，水泵运行三十秒，然后停止。大花盆比小花盆更需要水，"
        "打开窗户对所有植物都有好处。",
        "准备工作",
        ("检查土壤", "打开阀门", "冲洗水管"),
        "蕨类植物喜欢阴凉和凉爽的夜晚。",
        "紫萁除外，它能忍受阳光。",
        "用量",
        (("植物", "水", "光照"), ("蕨", "", "阴凉"), ("仙人掌", "10毫升", "全日照")),
        "收工之后",
        "最后关闭水泵。机油每年更换一次。",
    ),
    Source(
        "ja",
        "shift_jis",
        "温室の水やり",
        "センサーESP-32の値が25.5%を下回ると、ポンプは30秒間動きます。大きな鉢は小さな鉢より水を"
        "多く必要とし、窓を開けるとすべての植物によい影響があります。",
        "準備",
        ("土を調べる", "バルブを開く", "ホースを洗う"),
        "シダは日陰と涼しい夜を好みます。",
        "ゼンマイは別で、日光に耐えます。",
        "分量",
        (("植物", "水", "光"), ("シダ", "", "日陰"), ("サボテン", "10ml", "日なた")),
        "作業のあと",
        "最後にポンプを止めます。オイルは毎年交換します。",
    ),
    Source(
        "th",
        "tis-620",
        "การรดน้ำในเรือนกระจก",
        "ปั๊มทำงานสามสิบวินาทีเมื่อเซ็นเซอร์ ESP-32 วัดได้ต่ำกว่า 25.5% กระถางใหญ่ต้องการน้ำบ่อยกว่ากระถางเล็ก "
        "และหน้าต่างที่เปิดอยู่ช่วยพืชทุกชนิด",
        "การเตรียม",
        ("ตรวจดิน", "เปิดวาล์ว", "ล้างท่อ"),
        "เฟิร์นชอบร่มเงาและคืนที่เย็นสบาย",
        "ยกเว้นเฟิร์นราชินีที่ทนแดดได้",
        "ปริมาณ",
        (("พืช", "น้ำ", "แสง"), ("เฟิร์น", "", "ร่มเงา"), ("กระบองเพชร", "10 มล.", "แดดจัด")),
        "หลังเลิกงาน",
        "สุดท้ายให้ปิดปั๊ม เปลี่ยนน้ำมันปีละครั้ง",
    ),
    Source(
        "hi",
        "utf-16",
        "ग्रीनहाउस में सिंचाई",
        "जब सेंसर ESP-32 पर नमी 25.5% से कम होती है, तब पंप तीस सेकंड चलता है। बड़े गमलों को छोटे "
        "गमलों से अधिक बार पानी चाहिए, और खुली खिड़की सबके लिए अच्छी है।",
        "तैयारी",
        ("मिट्टी जाँचें", "वाल्व खोलें", "पाइप धोएँ"),
        "फ़र्न को छाया और ठंडी रातें पसंद हैं।",
        "राजसी फ़र्न को छोड़कर, जो धूप सह लेता है।",
        "मात्रा",
        (("पौधा", "पानी", "प्रकाश"), ("फ़र्न", "", "छाया"), ("कैक्टस", "10 मिली", "धूप")),
        "काम के बाद",
        "अंत में पंप बंद किया जाता है। तेल हर साल बदला जाता है।",
    ),
)
"""All documents, by language."""
