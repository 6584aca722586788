#include <garden.h>

namespace garden {

/* Cuts hedges; int none() { } */
template <class Hedge>
class Shears : public Tool {
public:
    explicit Shears(int length = 40) : length_(length) {}

    // Returns how much was cut.
    int cut(const Hedge& hedge, int rounds) const {
        return hedge.height() > length_ ? rounds * 2 : 0; // "{"
    }

private:
    int length_;
};

}  // namespace garden

int main() { return garden::Shears<Box>{}.cut({}, 7); }
