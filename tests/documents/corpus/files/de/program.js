// Bewässerung im Gewächshaus

/** Die Pumpe läuft dreißig Sekunden, wenn der Fühler ESP-32 weniger als 25,5 % misst. Größere Kübel brauchen häufiger Wasser als kleine, und überall hilft ein offenes Fenster. */
class Pump {
  // Außer dem Königsfarn, der Sonne verträgt.
  run() {
    return "Am Ende wird die Pumpe ausgeschaltet. Das Öl wird jährlich gewechselt.";
  }
}
