package android.content.res

import java.io.InputStream

class AssetManager {
    /** @throws java.io.IOException */
    fun open(fileName: String): InputStream = TODO()
}
